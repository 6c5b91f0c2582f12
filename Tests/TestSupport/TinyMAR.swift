import DiffCheckpoint
import DiffTensor

/// A small MAR with random weights under official names, and an autoencoder that goes with it.
public struct TinyMAR: Sendable {
    public var encoderDepth = 2, decoderDepth = 2, width = 24, heads = 3, headDepth = 2, headWidth = 20
    public var side = 3, buffer = 2, channels = 4, patch = 1, classes = 5
    public var seed: UInt64 = 1

    public init() {}

    public var tokens: Int { side * side }
    public var tokenWidth: Int { channels * patch * patch }

    /// Names and extents.
    public var shapes: [String: [Int]] {
        let (d, w, rows) = (width, headWidth, buffer + tokens)
        var shapes: [String: [Int]] = [
            "fake_latent": [1, d], "class_emb.weight": [classes, d], "encoder_pos_embed_learned": [1, rows, d],
            "decoder_pos_embed_learned": [1, rows, d], "mask_token": [1, 1, d],
            "diffusion_pos_embed_learned": [1, tokens, d],
        ]
        func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
            (shapes["\(name).weight"], shapes["\(name).bias"]) = ([outputs, inputs], [outputs])
        }
        func norm(_ name: String, _ width: Int) {
            (shapes["\(name).weight"], shapes["\(name).bias"]) = ([width], [width])
        }
        linear("z_proj", d, tokenWidth)
        norm("z_proj_ln", d)
        linear("decoder_embed", d, d)
        for (name, depth) in [("encoder", encoderDepth), ("decoder", decoderDepth)] {
            norm("\(name)_norm", d)
            for i in 0..<depth {
                let block = "\(name)_blocks.\(i)"
                for part in ["norm1", "norm2"] { norm("\(block).\(part)", d) }
                linear("\(block).attn.qkv", 3 * d, d)
                linear("\(block).attn.proj", d, d)
                linear("\(block).mlp.fc1", 4 * d, d)
                linear("\(block).mlp.fc2", d, 4 * d)
            }
        }
        let head = "diffloss.net"
        linear("\(head).time_embed.mlp.0", w, 256)
        linear("\(head).time_embed.mlp.2", w, w)
        linear("\(head).cond_embed", w, d)
        linear("\(head).input_proj", w, tokenWidth)
        for i in 0..<headDepth {
            norm("\(head).res_blocks.\(i).in_ln", w)
            linear("\(head).res_blocks.\(i).mlp.0", w, w)
            linear("\(head).res_blocks.\(i).mlp.2", w, w)
            linear("\(head).res_blocks.\(i).adaLN_modulation.1", 3 * w, w)
        }
        linear("\(head).final_layer.linear", 2 * tokenWidth, w)
        linear("\(head).final_layer.adaLN_modulation.1", 2 * w, w)
        return shapes
    }

    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.3) }

    /// `config.json`: what shapes do not tell, and few steps.
    public var config: JSON {
        .object([
            "family": .string("mar"), "encoder_num_heads": .integer(heads), "decoder_num_heads": .integer(heads),
            "patch_size": .integer(patch), "num_iter": .integer(4), "cfg": .number(2),
            "num_sampling_steps": .string("ddim5"),
        ])
    }

    /// Writes the model, with an autoencoder of two levels unless told otherwise, and gives its path.
    @discardableResult
    public func write(
        _ directory: ScratchDirectory, as folder: String = "mar", config: JSON? = nil, decoder: Bool = true
    ) throws -> String {
        try directory.write(config ?? self.config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/model.safetensors")
        if decoder {
            var autoencoder = TinyAutoencoder()
            autoencoder.latentChannels = channels
            try autoencoder.write(directory, as: "\(folder)/vae")
        }
        return "\(directory.path)/\(folder)"
    }
}
