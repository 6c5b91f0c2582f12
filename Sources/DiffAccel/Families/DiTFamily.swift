import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Class-conditional DiT: the network, the process it was trained for, and what turns its latents into pixels.
struct DiTFamily: ClassConditionalFamily {
    static let name = "dit"

    private let network: DiT
    let common: ClassConditional

    static let rules = DiTConfiguration.rules

    static func recognises(_ config: JSONObject) -> Bool {
        switch config.value("_class_name") {
        case .string("DiTTransformer2DModel"): true
        case .string("Transformer2DModel"): config.value("norm_type") == .string("ada_norm_zero")
        default: false
        }
    }

    init(_ opened: Opened) throws(DiffError) {
        let sizes = try DiTConfiguration(opened.architecture, conventions: Self.conventions(opened))
        network = try DiT(sizes, opened.weights)
        // What the weights showed is in the network's own.
        let configuration = network.configuration
        if let assumption = configuration.assumption { opened.ledger.assume(assumption) }
        if configuration.naming == .diffusers, configuration.depth > 1, !opened.weights.has(Self.secondCopy) {
            opened.ledger.assume(
                "blocks without embedders of time and class use the first block's; if they were trained, they are lost from this file"
            )
        }
        common = try ClassConditional(
            opened, network, SchedulerSolver(scheduler: try Self.scheduler(opened, configuration)),
            classes: configuration.classes,
            guidance: try opened.config.number("cfg_scale", in: 0...1000, default: 4),
            guidanceChannels: try Self.guidanceChannels(opened, configuration))
    }

    static let conventions = DiTConventions.allCases.map(\.rawValue)

    /// Those that the options ask for. Throws `invalidArgument` for names that a DiT has not.
    static func conventions(_ opened: Opened) throws(DiffError) -> DiTConventions? {
        guard let name = opened.options.conventions else { return nil }
        guard let conventions = DiTConventions(rawValue: name) else {
            throw DiffError(
                .invalidArgument,
                "a DiT's conventions must be \(Self.conventions.joined(separator: " or ")), found \"\(name)\"")
        }
        return conventions
    }

    private static let secondCopy = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"

    /// The epsilon channels that are guided unless a request says otherwise.
    static func guidanceChannels(_ opened: Opened, _ c: DiTConfiguration) throws(DiffError) -> Int {
        let usual = c.conventions == .official ? min(3, c.inChannels) : c.inChannels
        return try opened.config.integer("cfg_channels", in: 1...max(1, c.inChannels), default: usual)
    }

    /// How the model is sampled unless a request says otherwise.
    static func scheduler(_ opened: Opened, _ c: DiTConfiguration) throws(DiffError) -> SchedulerSettings {
        try SchedulerSettings(opened, spacing: c.conventions == .diffusers ? "leading" : "even")
    }

    var description: [String: JSON] {
        let c = network.configuration
        return common.description([
            "depth": .integer(c.depth), "hidden_size": .integer(c.width), "num_heads": .integer(c.heads),
            "patch_size": .integer(c.patchSize), "num_classes": .integer(c.classes),
            "learn_sigma": .bool(c.outChannels == 2 * c.inChannels), "layout": .string(c.naming.rawValue),
            "conventions": .string(c.conventions.rawValue),
        ])
    }
}
