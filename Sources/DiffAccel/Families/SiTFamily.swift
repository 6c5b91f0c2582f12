import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// SiT: DiT's network as a flow, sampled by solvers of its ordinary or stochastic equation.
struct SiTFamily: ClassConditionalFamily {
    static let name = "sit"

    static let rules = SiT.rules

    private let network: SiT
    let common: ClassConditional

    /// Its keys are DiT's: only a config that says what is interpolated, or `family`, is known to be a SiT's.
    static func recognises(_ config: JSONObject) -> Bool {
        config.has("path") && config.has("prediction") && config.has("hidden_size")
    }

    init(_ opened: Opened) throws(DiffError) {
        let c = try DiTConfiguration(opened.architecture)
        network = try SiT(c, opened.weights)
        common = try ClassConditional(
            opened, network, FlowSolver(process: try Self.process(opened.config)), classes: c.classes,
            guidance: try opened.config.number("cfg_scale", in: 0...1000, default: 4),
            guidanceChannels: try opened.config.integer(
                "cfg_channels", in: 1...max(1, c.inChannels), default: min(3, c.inChannels)))
    }

    /// The official code's `path-type` and `prediction`.
    static func process(_ config: JSONObject) throws(DiffError) -> FlowProcess {
        var process = FlowProcess.sit
        let paths = FlowPath.allCases.map(\.rawValue), predictions = FlowPrediction.allCases.map(\.rawValue)
        if let name = try config.optionalString("path", oneOf: paths), let path = FlowPath(rawValue: name) {
            process.path = path
        }
        if let name = try config.optionalString("prediction", oneOf: predictions),
            let prediction = FlowPrediction(rawValue: name)
        {
            process.prediction = prediction
        }
        return process
    }

    var description: [String: JSON] {
        let c = network.configuration
        return common.description([
            "depth": .integer(c.depth), "hidden_size": .integer(c.width), "num_heads": .integer(c.heads),
            "patch_size": .integer(c.patchSize), "num_classes": .integer(c.classes),
            "learn_sigma": .bool(c.outChannels == 2 &* c.inChannels),
        ])
    }
}
