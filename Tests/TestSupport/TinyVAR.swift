import DiffCheckpoint
import DiffTensor

/// A small VAR with random weights and the VQ-VAE that goes with it, under official names.
public struct TinyVAR: Sendable {
    public var depth = 2, width = 32, heads = 2, classes = 5, vocabulary = 24, channels = 4
    public var sides = [1, 2, 3, 4]
    public var sharesModulation = false, normalisesHeads = true
    public var seed: UInt64 = 1

    public init() {}

    public var tokens: Int { sides.reduce(0) { $0 + $1 * $1 } }

    /// Names and extents of the transformer.
    public var shapes: [String: [Int]] {
        let d = width
        var shapes: [String: [Int]] = [
            "pos_start": [1, 1, d], "pos_1LC": [1, tokens, d], "lvl_embed.weight": [sides.count, d],
            "class_emb.weight": [classes + 1, d], "word_embed.weight": [d, channels], "word_embed.bias": [d],
            "head_nm.ada_lin.1.weight": [2 * d, d], "head_nm.ada_lin.1.bias": [2 * d],
            "head.weight": [vocabulary, d], "head.bias": [vocabulary],
        ]
        if sharesModulation {
            shapes["shared_ada_lin.1.weight"] = [6 * d, d]
            shapes["shared_ada_lin.1.bias"] = [6 * d]
        }
        for i in 0..<depth {
            let name = "blocks.\(i)"
            shapes["\(name).attn.mat_qkv.weight"] = [3 * d, d]
            for bias in ["q_bias", "zero_k_bias", "v_bias"] { shapes["\(name).attn.\(bias)"] = [d] }
            if normalisesHeads { shapes["\(name).attn.scale_mul_1H11"] = [1, heads, 1, 1] }
            for (layer, outputs, inputs) in [("attn.proj", d, d), ("ffn.fc1", 4 * d, d), ("ffn.fc2", d, 4 * d)] {
                shapes["\(name).\(layer).weight"] = [outputs, inputs]
                shapes["\(name).\(layer).bias"] = [outputs]
            }
            if sharesModulation {
                shapes["\(name).ada_gss"] = [1, 1, 6, d]
            } else {
                shapes["\(name).ada_lin.1.weight"] = [6 * d, d]
                shapes["\(name).ada_lin.1.bias"] = [6 * d]
            }
        }
        return shapes
    }

    /// Names and extents of a VQ-VAE without levels in between: one of 32 channels, attention in it.
    public var codeShapes: [String: [Int]] {
        let width = 32
        var shapes: [String: [Int]] = ["quantize.embedding.weight": [vocabulary, channels]]
        func convolution(_ name: String, _ inputs: Int, _ outputs: Int, _ kernel: Int = 3) {
            shapes["\(name).weight"] = [outputs, inputs, kernel, kernel]
            shapes["\(name).bias"] = [outputs]
        }
        func norm(_ name: String) { (shapes["\(name).weight"], shapes["\(name).bias"]) = ([width], [width]) }
        func residual(_ name: String) {
            for part in ["1", "2"] {
                norm("\(name).norm\(part)")
                convolution("\(name).conv\(part)", width, width)
            }
        }
        func attention(_ name: String) {
            norm("\(name).norm")
            convolution("\(name).qkv", width, 3 * width, 1)
            convolution("\(name).proj_out", width, width, 1)
        }
        for index in 0..<4 { convolution("quantize.quant_resi.qresi_ls.\(index)", channels, channels) }
        convolution("quant_conv", channels, channels)
        convolution("post_quant_conv", channels, channels)
        for (half, inputs, outputs, layers) in [("encoder", 3, channels, 1), ("decoder", channels, 3, 2)] {
            convolution("\(half).conv_in", inputs, width)
            residual("\(half).mid.block_1")
            attention("\(half).mid.attn_1")
            residual("\(half).mid.block_2")
            for layer in 0..<layers {
                residual("\(half).\(half == "encoder" ? "down" : "up").0.block.\(layer)")
                attention("\(half).\(half == "encoder" ? "down" : "up").0.attn.\(layer)")
            }
            norm("\(half).norm_out")
            convolution("\(half).conv_out", width, outputs)
        }
        return shapes
    }

    /// Random weights of either part; gates and norms are not trivial.
    public func tensors(_ shapes: [String: [Int]]) throws(DiffError) -> [String: Tensor] {
        var numbers = Numbers(seed)
        var tensors: [String: Tensor] = [:]
        for (name, dims) in shapes.sorted(by: { $0.key < $1.key }) {
            let inputs = dims.dropFirst().reduce(1, *)
            let isNorm = dims.count == 1 && name.contains("norm") && name.hasSuffix("weight")
            let isTable = name.contains("emb") || name.contains("pos_") || name.contains("scale_mul")
            let scale: Float = isTable ? 1 : dims.count == 1 ? 0.2 : 1.5 / Float(max(1, inputs)).squareRoot()
            tensors[name] = try numbers.tensor(
                dims, scale: scale, around: isNorm ? 1 : name.contains("scale_mul") ? 1.4 : 0)
        }
        return tensors
    }

    /// `config.json` of the transformer.
    public var config: JSON {
        .object([
            "family": .string("var"), "depth": .integer(depth), "embed_dim": .integer(width),
            "num_heads": .integer(heads), "num_classes": .integer(classes), "vocab_size": .integer(vocabulary),
            "z_channels": .integer(channels), "patch_nums": .array(sides.map { .integer($0) }),
            "shared_aln": .bool(sharesModulation), "attn_l2_norm": .bool(normalisesHeads),
            "sampling": .object(["cfg": .number(1.5), "top_k": .integer(12), "top_p": .number(0.9)]),
        ])
    }

    /// Writes the model, with its VQ-VAE unless told otherwise, and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "var", codes: Bool = true) throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(shapes), as: "\(folder)/model.safetensors")
        if codes {
            let vae = JSON.object([
                "family": .string("vqvae"), "patch_nums": .array(sides.map { .integer($0) }),
            ])
            try directory.write(vae, as: "\(folder)/vae/config.json")
            try directory.write(tensors(codeShapes), as: "\(folder)/vae/model.safetensors")
        }
        return "\(directory.path)/\(folder)"
    }
}
