import DiffCheckpoint
import DiffModels
import DiffTensor

/// A U-Net of Stable Diffusion, AudioLDM or AudioLDM2 as a model of its own, without what makes prompts of texts and pictures or sounds
/// of latents: one prediction.
struct UNetFamily: ModelFamily {
    static let name = "unet2d_condition"
    static let forwardNames = (
        inputs: [
            "sample", "timestep", "encoder_hidden_states", "encoder_attention_mask", "encoder_hidden_states_1",
            "encoder_attention_mask_1", "text_embeds", "time_ids", "timestep_cond", "class_labels",
        ],
        outputs: ["out"]
    )

    static let rules = UNetConfiguration.rules

    private let network: UNet

    static func recognises(_ config: JSONObject) -> Bool {
        if let name = config.value("_class_name") {
            return name == .string("UNet2DConditionModel") || name == .string("AudioLDM2UNet2DConditionModel")
        }
        return config.has("cross_attention_dim") && config.has("down_block_types") && config.has("up_block_types")
    }

    init(_ opened: Opened) throws(DiffError) {
        network = try UNet(UNetConfiguration(opened.architecture), opened.weights)
    }

    var layouts: [SiteLayout] { [network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(network) }
    /// What is sampled with is a pipeline.

    var description: [String: JSON] {
        let c = network.configuration
        func list(_ values: [Int]) -> JSON { .array(values.each.map { .integer($0) }) }
        var members: [String: JSON] = [
            "input": .object(["sample": list([c.inChannels, c.sampleSide, c.sampleSide])]),
            "out_channels": .integer(c.outChannels),
            "block_out_channels": .array(c.down.each.map { .integer($0.channels) }),
            "cross_attention_dim": c.textWidths.count == 1 ? .integer(c.textWidth) : list(c.textWidths),
            "transformer_blocks": .integer(network.layout.blockCount),
        ]
        if let width = network.pooledWidth {
            members.put(.integer(width), for: c.classVector == nil ? "text_embeds" : "class_labels")
        }
        if let count = c.guidanceFeatures { members.put(.integer(count), for: "time_cond_proj_dim") }
        return members
    }

    func evaluate(dry run: Run) throws(DiffError) { try network.evaluate(dry: run) }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        for name in wanted.each where name != "out" {
            throw DiffError(.invalidArgument, "no output \"\(name)\"; a U-Net has out")
        }
        let isToldClass = network.configuration.classVector != nil
        var conditioning =
            network.textWidth == 0
            ? try Conditioning(pooled: inputs.tensor("class_labels"))
            : Conditioning(states: try inputs.tensor("encoder_hidden_states"))
        conditioning.pooled = inputs.tensors[isToldClass ? "class_labels" : "text_embeds"]
        conditioning.sizes = inputs.tensors["time_ids"]
        conditioning.mask = inputs.tensors["encoder_attention_mask"]
        conditioning.secondStates = inputs.tensors["encoder_hidden_states_1"]
        conditioning.secondMask = inputs.tensors["encoder_attention_mask_1"]
        let prepared = try network.prepare(
            conditioning, guidanceFeatures: inputs.tensors["timestep_cond"], run)
        return ["out": try network(inputs.tensor("sample"), t: inputs.tensor("timestep"), prepared, run)]
    }
}
