import DiffCheckpoint
import DiffTensor

/// A small DiT with random weights, written in either published layout.
public struct TinyDiT: Sendable {
    public var inputSize = 8, patchSize = 2, inChannels = 4, width = 24, depth = 2, heads = 2, classes = 5
    public var learnsSigma = true
    /// Whether the class table has a row for "no class".
    public var hasNullClass = true
    public var seed: UInt64 = 1

    public init() {}

    public var outChannels: Int { learnsSigma ? 2 * inChannels : inChannels }
    public var grid: Int { inputSize / patchSize }

    /// Names and extents of the official layout.
    public var shapes: [String: [Int]] {
        let (d, p) = (width, patchSize)
        var shapes: [String: [Int]] = [
            "pos_embed": [1, grid * grid, d],
            "x_embedder.proj.weight": [d, inChannels, p, p], "x_embedder.proj.bias": [d],
            "t_embedder.mlp.0.weight": [d, 256], "t_embedder.mlp.0.bias": [d],
            "t_embedder.mlp.2.weight": [d, d], "t_embedder.mlp.2.bias": [d],
            "y_embedder.embedding_table.weight": [classes + (hasNullClass ? 1 : 0), d],
            "final_layer.linear.weight": [p * p * outChannels, d], "final_layer.linear.bias": [p * p * outChannels],
            "final_layer.adaLN_modulation.1.weight": [2 * d, d], "final_layer.adaLN_modulation.1.bias": [2 * d],
        ]
        for i in 0..<depth {
            for (name, outputs, inputs) in [
                ("attn.qkv", 3 * d, d), ("attn.proj", d, d), ("mlp.fc1", 4 * d, d), ("mlp.fc2", d, 4 * d),
                ("adaLN_modulation.1", 6 * d, d),
            ] {
                shapes["blocks.\(i).\(name).weight"] = [outputs, inputs]
                shapes["blocks.\(i).\(name).bias"] = [outputs]
            }
        }
        return shapes
    }

    /// Random weights under official names, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.1) }

    /// `config.json` of the official layout.
    public var config: JSON {
        .object([
            "family": .string("dit"), "input_size": .integer(inputSize), "patch_size": .integer(patchSize),
            "in_channels": .integer(inChannels), "hidden_size": .integer(width), "depth": .integer(depth),
            "num_heads": .integer(heads), "num_classes": .integer(classes), "learn_sigma": .bool(learnsSigma),
            "class_dropout_prob": .number(hasNullClass ? 0.1 : 0),
        ])
    }

    /// The same with names of the classes.
    public func config(labels: [String]) -> JSON {
        guard case .object(var members) = config else { return config }
        members["labels"] = .array(labels.map { .string($0) })
        return .object(members)
    }

    /// `config.json` of the diffusers layout.
    public var diffusersConfig: JSON {
        .object([
            "_class_name": .string("DiTTransformer2DModel"), "num_attention_heads": .integer(heads),
            "attention_head_dim": .integer(width / heads), "in_channels": .integer(inChannels),
            "out_channels": .integer(outChannels), "num_layers": .integer(depth), "sample_size": .integer(inputSize),
            "patch_size": .integer(patchSize), "num_embeds_ada_norm": .integer(classes),
            "activation_fn": .string("gelu-approximate"), "norm_type": .string("ada_norm_zero"),
            "norm_eps": .number(1e-5),
        ])
    }

    /// The tensors of the official layout under diffusers names. The position table is left out, as diffusers does.
    public func diffusersTensors(_ official: [String: Tensor]) throws(DiffError) -> [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        func move(_ from: String, _ to: String) {
            for part in ["weight", "bias"] { tensors["\(to).\(part)"] = official["\(from).\(part)"] }
        }
        move("x_embedder.proj", "pos_embed.proj")
        move("final_layer.adaLN_modulation.1", "proj_out_1")
        move("final_layer.linear", "proj_out_2")
        for i in 0..<depth {
            let (from, to) = ("blocks.\(i)", "transformer_blocks.\(i)")
            move("t_embedder.mlp.0", "\(to).norm1.emb.timestep_embedder.linear_1")
            move("t_embedder.mlp.2", "\(to).norm1.emb.timestep_embedder.linear_2")
            let table = "embedding_table.weight"
            tensors["\(to).norm1.emb.class_embedder.\(table)"] = official["y_embedder.\(table)"]
            move("\(from).adaLN_modulation.1", "\(to).norm1.linear")
            move("\(from).attn.proj", "\(to).attn1.to_out.0")
            move("\(from).mlp.fc1", "\(to).ff.net.0.proj")
            move("\(from).mlp.fc2", "\(to).ff.net.2")
            for part in ["weight", "bias"] {
                guard let qkv = official["\(from).attn.qkv.\(part)"] else { continue }
                for (index, name) in ["to_q", "to_k", "to_v"].enumerated() {
                    tensors["\(to).attn1.\(name).\(part)"] = try qkv.rows(index * width, width)
                }
            }
        }
        return tensors
    }

    /// Writes the official layout as a folder and gives its path.
    @discardableResult
    public func write(_ directory: ScratchDirectory, as folder: String = "model") throws -> String {
        try directory.write(config, as: "\(folder)/config.json")
        try directory.write(tensors(), as: "\(folder)/model.safetensors")
        return "\(directory.path)/\(folder)"
    }
}

extension Tensor {
    /// The elements rounded to a narrower type (f16 to nearest, bf16 by dropping bits).
    public func narrowed(_ type: DType) throws(DiffError) -> Tensor {
        let bits = array.map { type == .f16 ? halfBits($0) : UInt16($0.bitPattern >> 16) }
        let block = try Storage(byteCount: bits.count * 2, budget: nil)
        bits.withUnsafeBytes { source in
            if let from = source.baseAddress, let to = block.base { to.copyMemory(from: from, byteCount: source.count) }
        }
        return try Tensor(block, shape, type)
    }
}
