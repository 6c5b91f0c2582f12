import DiffCheckpoint
import DiffTensor

/// A small U-Net of Stable Diffusion with random weights under diffusers' names: two levels, the finer one with transformers.
public struct TinyUNet: Sendable {
    public var channels = [8, 16], groups = 4, heads = 2, blocks = 1, layers = 1, inChannels = 4, outChannels = 4
    public var textWidth = 12, side = 8
    /// Features of the guidance scale (LCM); 0: none.
    public var guidanceFeatures = 0
    /// Features of a size and width of the pooled text (SDXL); 0: none.
    public var sizeFeatures = 0, pooledWidth = 10
    /// Widths that the transformers after a resnet read (AudioLDM2), nil for one that reads tokens twice; empty: one reads the text.
    public var stacks: [Int?] = []
    /// Width of the class vector that is told in place of a text (AudioLDM); 0: none.
    public var classWidth = 0
    /// The level without transformers; nil: the coarsest.
    public var plainLevel: Int?
    /// Whether transformers project by 1 x 1 convolutions.
    public var projectsByConvolution = false
    public var seed: UInt64 = 1

    public init() {}

    /// Attention and feed-forward of every transformer block: on the way down, in the middle, on the way up.
    public var sublayers: Int { 3 * blocks * ((channels.count - 1) * (2 * layers + 1) + 1) }

    /// `config.json`, with `changes`; null takes a key out.
    public func config(_ changes: [String: JSON] = [:]) -> JSON {
        let (last, plain) = (channels.count - 1, plainLevel ?? channels.count - 1)
        var members: [String: JSON] = [
            "_class_name": .string("UNet2DConditionModel"), "sample_size": .integer(side),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "block_out_channels": .array(channels.map { .integer($0) }), "layers_per_block": .integer(layers),
            "norm_num_groups": .integer(groups), "cross_attention_dim": .integer(textWidth),
            "attention_head_dim": .integer(heads), "transformer_layers_per_block": .integer(blocks),
            "down_block_types": .array(
                channels.indices.map { .string($0 == plain ? "DownBlock2D" : "CrossAttnDownBlock2D") }),
            "up_block_types": .array(
                channels.indices.map { .string(last - $0 == plain ? "UpBlock2D" : "CrossAttnUpBlock2D") }),
        ]
        if guidanceFeatures > 0 { members["time_cond_proj_dim"] = .integer(guidanceFeatures) }
        if sizeFeatures > 0 {
            members["addition_embed_type"] = .string("text_time")
            members["addition_time_embed_dim"] = .integer(sizeFeatures)
            members["projection_class_embeddings_input_dim"] = .integer(6 * sizeFeatures + pooledWidth)
        }
        if !stacks.isEmpty {
            members["_class_name"] = .string("AudioLDM2UNet2DConditionModel")
            let level = JSON.array(stacks.map { $0.map { .integer($0) } ?? .null })
            members["cross_attention_dim"] = .array(channels.map { _ in level })
        }
        if classWidth > 0 {
            members["class_embed_type"] = .string("simple_projection")
            members["class_embeddings_concat"] = .bool(true)
            members["projection_class_embeddings_input_dim"] = .integer(classWidth)
            members["cross_attention_dim"] = .array(channels.map { .integer($0) })
        }
        for (key, value) in changes { members[key] = value }
        return .object(members)
    }

    /// Names and extents.
    public var shapes: [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        let time = 4 * channels[0]
        func layer(_ name: String, _ dims: [Int], bias: Bool = true) {
            shapes["\(name).weight"] = dims
            if bias { shapes["\(name).bias"] = [dims[0]] }
        }
        func resnet(_ name: String, _ inputs: Int, _ outputs: Int) {
            layer("\(name).norm1", [inputs])
            layer("\(name).conv1", [outputs, inputs, 3, 3])
            layer("\(name).time_emb_proj", [outputs, classWidth > 0 ? 2 * time : time])
            layer("\(name).norm2", [outputs])
            layer("\(name).conv2", [outputs, outputs, 3, 3])
            if inputs != outputs { layer("\(name).conv_shortcut", [outputs, inputs, 1, 1]) }
        }
        /// Those behind resnet `index` of a level.
        func transformers(_ level: String, _ index: Int, _ width: Int) {
            let reads = stacks.isEmpty ? [classWidth > 0 ? nil : textWidth] : stacks
            for (position, context) in reads.enumerated() {
                transformer("\(level).attentions.\(index * reads.count + position)", width, context ?? width)
            }
        }
        func transformer(_ name: String, _ width: Int, _ read: Int) {
            layer("\(name).norm", [width])
            for part in ["proj_in", "proj_out"] {
                layer("\(name).\(part)", projectsByConvolution ? [width, width, 1, 1] : [width, width])
            }
            for block in 0..<blocks {
                let block = "\(name).transformer_blocks.\(block)"
                for norm in ["norm1", "norm2", "norm3"] { layer("\(block).\(norm)", [width]) }
                for (attention, context) in [("attn1", width), ("attn2", read)] {
                    layer("\(block).\(attention).to_q", [width, width], bias: false)
                    layer("\(block).\(attention).to_k", [width, context], bias: false)
                    layer("\(block).\(attention).to_v", [width, context], bias: false)
                    layer("\(block).\(attention).to_out.0", [width, width])
                }
                layer("\(block).ff.net.0.proj", [8 * width, width])
                layer("\(block).ff.net.2", [width, 4 * width])
            }
        }
        layer("conv_in", [channels[0], inChannels, 3, 3])
        layer("time_embedding.linear_1", [time, channels[0]])
        layer("time_embedding.linear_2", [time, time])
        if guidanceFeatures > 0 { layer("time_embedding.cond_proj", [channels[0], guidanceFeatures], bias: false) }
        if sizeFeatures > 0 {
            layer("add_embedding.linear_1", [time, 6 * sizeFeatures + pooledWidth])
            layer("add_embedding.linear_2", [time, time])
        }
        if classWidth > 0 { layer("class_embedding", [time, classWidth]) }
        let last = channels.count - 1
        for (level, width) in channels.enumerated() {
            for index in 0..<layers {
                resnet("down_blocks.\(level).resnets.\(index)", index == 0 ? channels[max(0, level - 1)] : width, width)
                if level != plainLevel ?? last { transformers("down_blocks.\(level)", index, width) }
            }
            if level < last { layer("down_blocks.\(level).downsamplers.0.conv", [width, width, 3, 3]) }
        }
        let coarsest = channels[last]
        resnet("mid_block.resnets.0", coarsest, coarsest)
        transformers("mid_block", 0, coarsest)
        resnet("mid_block.resnets.1", coarsest, coarsest)
        for (index, level) in channels.indices.reversed().enumerated() {
            let (width, below, above) = (channels[level], channels[min(last, level + 1)], channels[max(0, level - 1)])
            for layer in 0...layers {
                let inputs = (layer == 0 ? below : width) + (layer == layers ? above : width)
                resnet("up_blocks.\(index).resnets.\(layer)", inputs, width)
                if level != plainLevel ?? last { transformers("up_blocks.\(index)", layer, width) }
            }
            if level > 0 { layer("up_blocks.\(index).upsamplers.0.conv", [width, width, 3, 3]) }
        }
        layer("conv_norm_out", [channels[0]])
        layer("conv_out", [outChannels, channels[0], 3, 3])
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.5) }

    /// Writes a model folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "unet") throws -> String {
        try directory.write(config(), as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/diffusion_pytorch_model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}
