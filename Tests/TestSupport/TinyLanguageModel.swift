import DiffCheckpoint
import DiffTensor

/// A small LLaDA or Dream with random weights, written as the published folders are.
public struct TinyLanguageModel: Sendable {
    public var isDream = false
    /// iLLaDA: Dream's names without biases, and no mask in the config.
    public var isILLaDA = false
    /// Members put into `config.json`, over those that are there; null: taken out.
    public var changes: [String: JSON] = [:]
    public var width = 32, layers = 2, heads = 4, kvHeads = 2, mlp = 48, vocabulary = 61, mask = 60
    public var isTied = false
    public var seed: UInt64 = 1

    public init() {}

    public var headDim: Int { width / heads }

    /// Names and extents.
    public var shapes: [String: [Int]] {
        let (d, kv) = (width, kvHeads * headDim)
        var shapes: [String: [Int]] = [:]
        if isDream || isILLaDA {
            shapes["model.embed_tokens.weight"] = [vocabulary, d]
            shapes["model.norm.weight"] = [d]
            if !isTied { shapes["lm_head.weight"] = [vocabulary, d] }
            for i in 0..<layers {
                let p = "model.layers.\(i)"
                for name in ["input_layernorm", "post_attention_layernorm"] { shapes["\(p).\(name).weight"] = [d] }
                for (name, outputs) in [("q_proj", d), ("k_proj", kv), ("v_proj", kv)] {
                    shapes["\(p).self_attn.\(name).weight"] = [outputs, d]
                    if isDream { shapes["\(p).self_attn.\(name).bias"] = [outputs] }
                }
                shapes["\(p).self_attn.o_proj.weight"] = [d, d]
                for name in ["gate_proj", "up_proj"] { shapes["\(p).mlp.\(name).weight"] = [mlp, d] }
                shapes["\(p).mlp.down_proj.weight"] = [d, mlp]
            }
            return shapes
        }
        shapes["model.transformer.wte.weight"] = [vocabulary, d]
        shapes["model.transformer.ln_f.weight"] = [d]
        if !isTied { shapes["model.transformer.ff_out.weight"] = [vocabulary, d] }
        for i in 0..<layers {
            let p = "model.transformer.blocks.\(i)"
            for name in ["attn_norm", "ff_norm"] { shapes["\(p).\(name).weight"] = [d] }
            for (name, outputs) in [("q_proj", d), ("k_proj", kv), ("v_proj", kv), ("attn_out", d)] {
                shapes["\(p).\(name).weight"] = [outputs, d]
            }
            for name in ["ff_proj", "up_proj"] { shapes["\(p).\(name).weight"] = [mlp, d] }
            shapes["\(p).ff_out.weight"] = [d, mlp]
        }
        return shapes
    }

    /// Random weights; norms near 1.
    public func tensors() throws(DiffError) -> [String: Tensor] {
        var numbers = Numbers(seed)
        var tensors: [String: Tensor] = [:]
        for (name, dims) in shapes.sorted(by: { $0.key < $1.key }) {
            let isNorm = name.contains("norm") || name.contains("ln_f")
            let scale: Float = dims.count == 1 ? 0.2 : 2 / Float(dims[1]).squareRoot()
            tensors[name] = try numbers.tensor(dims, scale: scale, around: isNorm ? 1 : 0)
        }
        return tensors
    }

    /// `config.json`.
    public var config: JSON {
        guard case .object(let members) = published else { return published }
        return .object(members.merging(changes) { $1 }.filter { $0.value != .null })
    }

    private var published: JSON {
        if isILLaDA {
            return .object([
                "architectures": .array([.string("ILLaDAForCausalLM")]), "model_type": .string("illada"),
                "hidden_size": .integer(width), "num_hidden_layers": .integer(layers),
                "num_attention_heads": .integer(heads), "num_key_value_heads": .integer(kvHeads),
                "intermediate_size": .integer(mlp), "vocab_size": .integer(vocabulary),
                "rope_theta": .number(500_000), "rms_norm_eps": .number(1e-5), "tie_word_embeddings": .bool(isTied),
                "eos_token_id": .integer(1), "max_position_embeddings": .integer(256),
            ])
        }
        if isDream {
            return .object([
                "model_type": .string("Dream"), "hidden_size": .integer(width), "num_hidden_layers": .integer(layers),
                "num_attention_heads": .integer(heads), "num_key_value_heads": .integer(kvHeads),
                "intermediate_size": .integer(mlp), "vocab_size": .integer(vocabulary),
                "rope_theta": .number(1_000_000), "rms_norm_eps": .number(1e-6), "tie_word_embeddings": .bool(isTied),
                "mask_token_id": .integer(mask), "eos_token_id": .integer(1), "max_position_embeddings": .integer(256),
            ])
        }
        return .object([
            "model_type": .string("llada"), "d_model": .integer(width), "n_layers": .integer(layers),
            "n_heads": .integer(heads), "n_kv_heads": .integer(kvHeads), "mlp_hidden_size": .integer(mlp),
            "vocab_size": .integer(vocabulary), "embedding_size": .integer(vocabulary),
            "rope_theta": .number(500_000), "rms_norm_eps": .number(1e-5), "weight_tying": .bool(isTied),
            "mask_token_id": .integer(mask), "eos_token_id": .integer(1), "max_sequence_length": .integer(256),
            "block_type": .string("llama"), "activation_type": .string("silu"), "layer_norm_type": .string("rms"),
        ])
    }

    /// Writes the folder `path`.
    public func write(to directory: ScratchDirectory, as name: String = "model") throws -> String {
        try directory.write(config, as: "\(name)/config.json")
        try directory.write(tensors(), as: "\(name)/model.safetensors")
        return "\(directory.path)/\(name)"
    }
}
