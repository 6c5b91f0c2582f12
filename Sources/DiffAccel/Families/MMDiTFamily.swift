import DiffCheckpoint
import DiffModels
import DiffTensor

/// The transformer of Stable Diffusion 3 as a model of its own: it predicts, and leaves prompts and sampling to a pipeline.
struct MMDiTFamily: ModelFamily {
    static let name = "sd3_transformer"
    static let forwardNames = (
        inputs: ["encoder_hidden_states", "hidden_states", "pooled_projections", "timestep"], outputs: ["out"]
    )
    static let rules = MMDiTConfiguration.rules

    let network: MMDiT

    static func recognises(_ config: JSONObject) -> Bool {
        config.value("_class_name") == .string("SD3Transformer2DModel")
    }

    init(_ opened: Opened) throws(DiffError) {
        network = try MMDiT(MMDiTConfiguration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(network) }

    var description: [String: JSON] {
        let c = network.configuration
        return [
            "input": .array([.integer(c.inChannels), .integer(c.side), .integer(c.side)]),
            "config": .object([
                "depth": .integer(c.depth), "hidden_size": .integer(c.width), "num_heads": .integer(c.heads),
                "patch_size": .integer(c.patchSize), "text_width": .integer(c.textWidth),
                "pooled_width": .integer(c.pooledWidth), "max_side": .integer(network.maxSide ?? 0),
                "qk_norm": .bool(c.normalisesHeads),
                "dual_attention_layers": .array(c.dualAttention.map { .integer($0) }),
            ]),
        ]
    }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        guard wanted.allSatisfy({ $0 == "out" }) else {
            throw DiffError(
                .invalidArgument, "no output \"\(wanted.first { $0 != "out" } ?? "")\"; a transformer has out")
        }
        var conditioning = Conditioning(states: try inputs.tensor("encoder_hidden_states"))
        conditioning.pooled = try inputs.tensor("pooled_projections")
        let prepared = try network.prepare(conditioning, run)
        return [
            "out": try network(inputs.tensor("hidden_states"), t: inputs.tensor("timestep"), prepared, run)
        ]
    }
}
