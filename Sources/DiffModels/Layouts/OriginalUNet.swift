import DiffCheckpoint
import DiffTensor

/// The U-Net of Stable Diffusion 1, 2 and XL in the original layout (`input_blocks`, `middle_block`, `output_blocks`), read off the
/// names and shapes of its tensors.
struct OriginalUNet: Sendable {
    /// A level: channels, and depth of the transformers of its blocks (0: none).
    struct Level: Sendable, Equatable {
        var channels: Int
        var depth: Int
    }

    let prefix: String
    /// Finest first.
    private(set) var levels: [Level] = []
    private(set) var layersPerBlock = 0
    private(set) var middleDepth = 0
    private(set) var (inChannels, outChannels) = (0, 0)
    /// Width of what cross-attention reads; 0 without any.
    private(set) var contextWidth = 0
    /// Whether transformers have linear layers around them and not 1 x 1 convolutions.
    private(set) var hasLinearProjections = false
    /// Width of what is told beside the time; nil: nothing.
    private(set) var addedWidth: Int?
    /// Width of the embedded guidance (LCM); nil: it is not told.
    private(set) var guidanceWidth: Int?

    /// The prefixes under which such a network may stand.
    static let prefixes = ["model.diffusion_model.", "diffusion_model.", ""]

    /// Nil when `table` has no such network. Throws `unsupported` for one that no configuration describes.
    init?(_ table: TensorTable) throws(DiffError) {
        let found = Self.prefixes.each.first { table.has("\($0)input_blocks.0.0.weight") }
        guard let prefix = found else { return nil }
        self.prefix = prefix
        func shape(_ name: String) -> Shape? { table.info(prefix + name)?.shape }
        func refused(_ what: String) -> DiffError {
            DiffError(
                .unsupported, "\(table.path): \(prefix)input_blocks: \(what): no U-Net of Stable Diffusion 1, 2 or XL")
        }
        guard let first = shape("input_blocks.0.0.weight"), first.rank == 4 else {
            throw refused("no convolution at 0.0")
        }
        (inChannels, outChannels) = (first[1], shape("out.2.weight")?[0] ?? 4)
        var (index, layers) = (1, 0)
        var level: Level?
        while index < Limits.layers {
            let block = "input_blocks.\(index)"
            index &+= 1
            if shape("\(block).0.op.weight") != nil {
                guard let done = level else { throw refused("\(block) has nothing before it") }
                try append(done, layers, refused)
                (level, layers) = (nil, 0)
                continue
            }
            guard let output = shape("\(block).0.out_layers.3.weight") else { break }
            let depth = Self.depth(table, "\(prefix)\(block).1")
            if depth > 0 {
                hasLinearProjections = shape("\(block).1.proj_in.weight")?.rank == 2
                contextWidth = shape("\(block).1.transformer_blocks.0.attn2.to_k.weight")?[1] ?? contextWidth
            }
            let here = Level(channels: output[0], depth: depth)
            guard level == nil || level == here else { throw refused("\(block) differs from the others of its level") }
            level = here
            layers &+= 1
        }
        guard let last = level else { throw refused("no residual blocks") }
        try append(last, layers, refused)
        middleDepth = Self.depth(table, "\(prefix)middle_block.1")
        if contextWidth == 0 {
            contextWidth = shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight")?[1] ?? 0
        }
        guard middleDepth > 0, last.depth == 0 || last.depth == middleDepth else {
            throw refused("a middle block of \(middleDepth) transformer layers after \(last.depth)")
        }
        addedWidth = shape("label_emb.0.0.weight").map { $0[1] }
        guidanceWidth = shape("time_embed.cond_proj.weight").map { $0[1] }
    }

    private mutating func append(
        _ level: Level, _ layers: Int, _ refused: (String) -> DiffError
    ) throws(DiffError) {
        guard layersPerBlock == 0 || layersPerBlock == layers else {
            throw refused("levels of \(layersPerBlock) and \(layers) residual blocks")
        }
        layersPerBlock = layers
        levels.append(level)
    }

    /// Blocks of the transformer at `module`.
    private static func depth(_ table: TensorTable, _ module: String) -> Int {
        var depth = 0
        while depth < Limits.layers, table.has("\(module).transformer_blocks.\(depth).attn1.to_q.weight") {
            depth &+= 1
        }
        return depth
    }
}

extension OriginalUNet {
    /// The names of both layouts.
    var pairs: LayoutPairs { UNetPairs.pairs(levels.map { $0.depth > 0 }, layersPerBlock: layersPerBlock) }

    /// diffusers' `UNet2DConditionModel` for it. Heads cannot be read off shapes: 8 everywhere with 1 x 1 convolutions around
    /// transformers (Stable Diffusion 1), else as many as have 64 channels each.
    func config(sampleSize: Int, pooledWidth: Int?) -> JSON {
        let last = levels.count &- 1
        var heads: [JSON] = []
        var depths: [JSON] = []
        var channels: [JSON] = []
        var (down, up): ([JSON], [JSON]) = ([], [])
        for (index, level) in levels.numbered {
            channels.append(.integer(level.channels))
            heads.append(.integer(max(1, level.channels / 64)))
            depths.append(.integer(level.depth > 0 ? level.depth : index == last ? middleDepth : 1))
            down.append(.string(level.depth > 0 ? "CrossAttnDownBlock2D" : "DownBlock2D"))
        }
        for level in levels.reversed().each { up.append(.string(level.depth > 0 ? "CrossAttnUpBlock2D" : "UpBlock2D")) }
        let isFlat = depths.each.allSatisfy { $0 == 1 }
        var config: JSON = [
            "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 8,
            "block_out_channels": .array(channels), "center_input_sample": false,
            "cross_attention_dim": .integer(contextWidth), "down_block_types": .array(down), "downsample_padding": 1,
            "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": .integer(inChannels),
            "layers_per_block": .integer(layersPerBlock), "mid_block_scale_factor": 1, "norm_eps": 1e-05,
            "norm_num_groups": 32, "out_channels": .integer(outChannels), "sample_size": .integer(sampleSize),
            "transformer_layers_per_block": isFlat ? 1 : .array(depths), "up_block_types": .array(up),
            "use_linear_projection": .bool(hasLinearProjections),
        ]
        if hasLinearProjections { config = config.setting("attention_head_dim", .array(heads)) }
        if let guidanceWidth { config = config.setting("time_cond_proj_dim", .integer(guidanceWidth)) }
        if let addedWidth {
            // The embeddings of six numbers stand behind the pooled text.
            let each = pooledWidth.flatMap { Checked.divide(addedWidth &- $0, 6) } ?? 256
            config = config.setting("addition_embed_type", "text_time")
                .setting("addition_time_embed_dim", .integer(each))
                .setting("projection_class_embeddings_input_dim", .integer(addedWidth))
        }
        return config
    }
}

extension JSON {
    /// The object with the member `key` set to `value`; itself when it is no object.
    func setting(_ key: String, _ value: JSON) -> JSON {
        guard case .object(var members) = self else { return self }
        members.put(value, for: key)
        return .object(members)
    }

    /// The object with the members of `other`, which count where both have one.
    func merging(_ other: JSON) -> JSON {
        guard case .object(var members) = self, case .object(let others) = other else { return self }
        for key in Array(others.keys).each { members.put(others[key] ?? .null, for: key) }
        return .object(members)
    }
}
