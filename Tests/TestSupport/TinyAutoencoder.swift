import DiffCheckpoint
import DiffTensor

/// A small Stable Diffusion autoencoder with random weights, under any of its published names.
public struct TinyAutoencoder: Sendable {
    public var levels = [8, 16], layers = 1, groups = 4, latentChannels = 4, channels = 3
    /// Whether there are 1 x 1 convolutions around the latents, and an attention in the coarsest level.
    public var usesQuantConvolutions = true, attends = true
    public var seed: UInt64 = 1

    public init() {}

    /// Pixels per latent along a side.
    public var factor: Int { 1 << (levels.count - 1) }

    public var config: JSON {
        .object([
            "_class_name": .string("AutoencoderKL"), "in_channels": .integer(channels),
            "out_channels": .integer(channels), "latent_channels": .integer(latentChannels),
            "block_out_channels": .array(levels.map { .integer($0) }), "layers_per_block": .integer(layers),
            "norm_num_groups": .integer(groups), "scaling_factor": .number(0.5),
            "use_quant_conv": .bool(usesQuantConvolutions), "use_post_quant_conv": .bool(usesQuantConvolutions),
            "mid_block_add_attention": .bool(attends),
        ])
    }

    /// Names and extents of the diffusers layout.
    public var shapes: [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        func convolution(_ name: String, _ inputs: Int, _ outputs: Int, _ kernel: Int = 3) {
            shapes["\(name).weight"] = [outputs, inputs, kernel, kernel]
            shapes["\(name).bias"] = [outputs]
        }
        func vectors(_ name: String, _ count: Int) {
            shapes["\(name).weight"] = [count]
            shapes["\(name).bias"] = [count]
        }
        func residual(_ name: String, _ inputs: Int, _ outputs: Int) {
            vectors("\(name).norm1", inputs)
            convolution("\(name).conv1", inputs, outputs)
            vectors("\(name).norm2", outputs)
            convolution("\(name).conv2", outputs, outputs)
            if inputs != outputs { convolution("\(name).conv_shortcut", inputs, outputs, 1) }
        }
        func middle(_ name: String, _ width: Int) {
            residual("\(name).resnets.0", width, width)
            residual("\(name).resnets.1", width, width)
            guard attends else { return }
            vectors("\(name).attentions.0.group_norm", width)
            for part in ["to_q", "to_k", "to_v", "to_out.0"] {
                shapes["\(name).attentions.0.\(part).weight"] = [width, width]
                shapes["\(name).attentions.0.\(part).bias"] = [width]
            }
        }
        let (finest, coarsest) = (levels[0], levels[levels.count - 1])
        if usesQuantConvolutions {
            convolution("quant_conv", 2 * latentChannels, 2 * latentChannels, 1)
            convolution("post_quant_conv", latentChannels, latentChannels, 1)
        }
        convolution("encoder.conv_in", channels, finest)
        middle("encoder.mid_block", coarsest)
        vectors("encoder.conv_norm_out", coarsest)
        convolution("encoder.conv_out", coarsest, 2 * latentChannels)
        convolution("decoder.conv_in", latentChannels, coarsest)
        middle("decoder.mid_block", coarsest)
        vectors("decoder.conv_norm_out", finest)
        convolution("decoder.conv_out", finest, channels)
        let reversed = Array(levels.reversed())
        for level in levels.indices {
            for layer in 0..<layers {
                let inputs = layer == 0 ? levels[max(0, level - 1)] : levels[level]
                residual("encoder.down_blocks.\(level).resnets.\(layer)", inputs, levels[level])
            }
            for layer in 0..<layers + 1 {
                let inputs = layer == 0 ? reversed[max(0, level - 1)] : reversed[level]
                residual("decoder.up_blocks.\(level).resnets.\(layer)", inputs, reversed[level])
            }
            guard level < levels.count - 1 else { continue }
            convolution("encoder.down_blocks.\(level).downsamplers.0.conv", levels[level], levels[level])
            convolution("decoder.up_blocks.\(level).upsamplers.0.conv", reversed[level], reversed[level])
        }
        return shapes
    }

    /// Random weights under diffusers names.
    public func tensors() throws(DiffError) -> [String: Tensor] {
        var numbers = Numbers(seed)
        var tensors: [String: Tensor] = [:]
        for (name, dims) in shapes.sorted(by: { $0.key < $1.key }) {
            let inputs = dims.dropFirst().reduce(1, *)
            let isNorm = dims.count == 1 && name.hasSuffix("weight")
            tensors[name] = try numbers.tensor(
                dims, scale: dims.count == 1 ? 0.2 : 1.5 / Float(inputs).squareRoot(), around: isNorm ? 1 : 0)
        }
        return tensors
    }

    /// The same tensors under the attention names of old diffusers versions.
    public static func oldNames(_ tensors: [String: Tensor]) -> [String: Tensor] {
        renamed(tensors) { name in
            var name = name
            for (new, old) in [
                (".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn."),
            ] {
                name = name.replacing(new, with: old)
            }
            return name
        }
    }

    /// The same tensors under the names of latent-diffusion, attention projections as 1 x 1 convolutions.
    public func latentDiffusionNames(_ tensors: [String: Tensor]) throws(DiffError) -> [String: Tensor] {
        var out: [String: Tensor] = [:]
        for (name, tensor) in tensors {
            var (name, tensor) = (name, tensor)
            for (old, new) in [
                ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
                ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
                ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
                ("mid_block.attentions.0.to_q", "mid.attn_1.q"), ("mid_block.attentions.0.to_k", "mid.attn_1.k"),
                ("mid_block.attentions.0.to_v", "mid.attn_1.v"), ("conv_shortcut", "nin_shortcut"),
                ("conv_norm_out", "norm_out"), ("downsamplers.0", "downsample"), ("upsamplers.0", "upsample"),
                ("down_blocks.", "down."), ("resnets.", "block."),
            ] { name = name.replacing(old, with: new) }
            for level in levels.indices {
                name = name.replacing("up_blocks.\(level).", with: "up.\(levels.count - 1 - level).")
            }
            if name.contains("attn_1"), tensor.shape.rank == 2 {
                tensor = try tensor.reshaped(Shape(tensor.shape[0], tensor.shape[1], 1, 1))
            }
            out[name] = tensor
        }
        return out
    }

    private static func renamed(_ tensors: [String: Tensor], _ rename: (String) -> String) -> [String: Tensor] {
        Dictionary(uniqueKeysWithValues: tensors.map { (rename($0.key), $0.value) })
    }

    /// Writes the diffusers layout as a folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "vae") throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/diffusion_pytorch_model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}
