import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import DiffTraining

/// What a trainer does, read from JSON: the method's own settings and those that all methods share.
struct TrainerSettings {
    /// What is learned.
    enum Method: String, CaseIterable {
        /// A Learning-to-Cache router.
        case router
        /// Which blocks to keep: by gates that learn, or by a rule.
        case prune
        /// The weights.
        case finetune
        /// The weights of a next-scale model, for its part of collaborative decoding.
        case specialise

        /// Whether the result are weights, of which averages are kept.
        var learnsWeights: Bool { self == .finetune || self == .specialise }
        /// What it learns from.
        var kinds: [DataSettings.Kind] { self == .specialise ? [.tokens, .images] : [.latents] }
    }

    let method: Method
    private let json: JSONObject
    /// What was given, for what all methods share and for errors.
    let options: Options
    let data: DataSettings?
    /// Where the state is written, every `saveEvery` steps; nil: only on request.
    let statePath: String?
    let saveEvery: Int
    /// Whether to resume from an existing state file.
    let resumes: Bool
    /// Of methods that learn weights: the checkpoint of the teacher.
    let teacher: String?
    /// Of `specialise`: the VQ-VAE, when the model has none.
    let vae: String?
    /// Of exports: element type of weights, averaged weights or the last ones, and the most bytes of kept outputs per network row.
    let exportType: DType?
    let exportsAverage: Bool
    let cacheLimit: Int?
    /// Of `prune`: whether gates learn.
    var learnsGates: Bool { method == .prune && !options.has("rule") }

    /// Options of all trainings.
    private static let shared = [
        OptionSpec("method", .cases(of: Method.self), "What is learned."),
        OptionSpec(
            "data", .object("an object: {\"path\"}, or {\"latents\", \"labels\"}, with \"factor\""), absent: "none",
            "What is learned from: `path` of a safetensors file, or a file each for `latents` (of specialise `tokens` or `images`) and "
                + "`labels`; `factor` multiplies latents."),
        OptionSpec("state", .text, absent: "none", "File that the state is written to."),
        OptionSpec(
            "save_every", .integer(1...1_000_000), default: .integer(100),
            "Steps from one writing of the state to the next."),
        OptionSpec("resume", .flag, default: .bool(false), "Resumes from an existing state file."),
    ]

    /// Options of all trainings that end with weights.
    private static let weights = [
        OptionSpec("teacher", .text, absent: "none", "Checkpoint that a teacher is opened from."),
        OptionSpec(
            "dtype", .choice(["f32", "f16", "bf16", "stored"]), default: .string("f32"),
            "Element type of exported weights."),
        OptionSpec("averaged", .flag, default: .bool(true), "Whether averages are exported, or the last weights."),
    ]

    private static let cacheLimit = OptionSpec(
        "cache_limit", .integer(0...Int.max), absent: "none",
        "Most bytes that the exported plan keeps per row of the network's batch.")

    private static let vae = OptionSpec(
        "vae", .text, absent: "that of the model, else of the teacher", "Folder of the VQ-VAE.")

    /// Of routers of networks that are told prompts.
    static let prompts = OptionSpec(
        "prompts", .text, absent: "must be given for a U-Net, and for no other",
        "Safetensors file with the prompts that labels are numbers of: prompt_embeds [P,t,D], of SDXL pooled_prompt_embeds [P,W] and "
            + "time_ids [P,6], and the same after negative_ with one row, which stands for no prompt.")

    /// What settings of a router may say where it has these defaults.
    static func router(_ defaults: RouterSettings) -> [OptionSpec] { shared + defaults.options + [cacheLimit] }

    /// What settings of pruning by a rule may say, for a network of `depth` blocks.
    static func ranking(depth: Int = Limits.layers) -> [OptionSpec] { shared + RankingSettings.options(depth: depth) }

    /// What settings of the other trainings may say.
    static var pruning: [OptionSpec] { shared + PruningSettings.options }
    static var recovery: [OptionSpec] { shared + RecoverySettings.options + weights }
    static var specialisation: [OptionSpec] { shared + SpecialisationSettings.options + weights + [vae] }

    /// The options of every training by its method, and of those whose options or defaults depend on more by that too.
    static var optionTables: [String: [OptionSpec]] {
        [
            "router": router(RouterSettings()), "router, uvit": router(.uvit),
            "router, unet2d_condition": router(RouterSettings()) + [prompts], "prune": pruning,
            "prune, by rule": ranking(), "finetune": recovery, "specialise": specialisation,
        ]
    }

    init(_ value: JSON) throws(DiffError) {
        json = try JSONObject(value, source: "settings")
        let name = try json.optionalString("method", oneOf: Method.allCases.map(\.rawValue)) ?? ""
        guard let method = Method(rawValue: name) else {
            throw json.error("method", "expected one of \(Method.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.method = method
        // What must be given, and what depends on the model, is for its recipe to ask for: first it must have such a training.
        let table =
            switch method {
            case .router: Self.router(RouterSettings()) + [Self.prompts]
            case .prune: json.has("rule") ? Self.ranking() : Self.pruning
            case .finetune: Self.recovery
            case .specialise: Self.specialisation
            }
        options = try Options(json, table.map(\.unneeded))
        data = try json.optionalObject("data").map { (object) throws(DiffError) in
            try DataSettings(object, method.kinds)
        }
        statePath = try options.optional("state")
        saveEvery = try options.get("save_every")
        resumes = try options.get("resume")
        teacher = method.learnsWeights ? try options.optional("teacher") : nil
        vae = method == .specialise ? try options.optional("vae") : nil
        let type: String = method.learnsWeights ? try options.get("dtype") : "f32"
        exportType = DType.allCases.each.first { $0.name == type.uppercased() }
        exportsAverage = method.learnsWeights ? try options.get("averaged") : true
        cacheLimit = method == .router ? try options.optional("cache_limit") : nil
    }

    /// The settings checked against `table`, which is that of the model. Throws `format`.
    func options(_ table: [OptionSpec]) throws(DiffError) -> Options { try Options(json, table) }
}

extension OptionSpec {
    /// The same, and none the worse when it is not given.
    fileprivate var unneeded: OptionSpec {
        absence == .required ? OptionSpec(name, type, absent: "must be given", summary) : self
    }
}
