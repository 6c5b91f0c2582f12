import DiffCheckpoint
import DiffTensor

/// A small CLIP text tower with random weights under the published names.
public struct TinyCLIPText: Sendable {
    public var vocabulary = 40, width = 16, layers = 2, heads = 4, mlpWidth = 24, positions = 10, projection = 6
    public var isProjected = false
    /// Names as transformers 5 writes them for a tower without projection.
    public var isBare = false
    public var seed: UInt64 = 1

    public init() {}

    /// Names and extents.
    public var shapes: [String: [Int]] {
        let d = width
        var shapes: [String: [Int]] = [
            "embeddings.token_embedding.weight": [vocabulary, d],
            "embeddings.position_embedding.weight": [positions, d],
            "final_layer_norm.weight": [d], "final_layer_norm.bias": [d],
        ]
        for layer in 0..<layers {
            let name = "encoder.layers.\(layer)"
            for norm in ["layer_norm1", "layer_norm2"] {
                shapes["\(name).\(norm).weight"] = [d]
                shapes["\(name).\(norm).bias"] = [d]
            }
            var parts = ["q", "k", "v", "out"].map { ("self_attn.\($0)_proj", d, d) }
            parts += [("mlp.fc1", mlpWidth, d), ("mlp.fc2", d, mlpWidth)]
            for (part, outputs, inputs) in parts {
                shapes["\(name).\(part).weight"] = [outputs, inputs]
                shapes["\(name).\(part).bias"] = [outputs]
            }
        }
        if !isBare { shapes = Dictionary(uniqueKeysWithValues: shapes.map { ("text_model.\($0.key)", $0.value) }) }
        if isProjected { shapes["text_projection.weight"] = [projection, d] }
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.5) }

    /// `config.json`.
    public var config: [String: JSON] {
        [
            "architectures": .array([.string(isProjected ? "CLIPTextModelWithProjection" : "CLIPTextModel")]),
            "model_type": .string("clip_text_model"), "vocab_size": .integer(vocabulary),
            "hidden_size": .integer(width), "num_hidden_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "intermediate_size": .integer(mlpWidth),
            "max_position_embeddings": .integer(positions), "projection_dim": .integer(projection),
            "hidden_act": .string("quick_gelu"), "eos_token_id": .integer(2),
        ]
    }
}

/// A small T5 encoder with random weights under the published names.
public struct TinyT5: Sendable {
    public var vocabulary = 40, width = 16, headDim = 3, heads = 4, mlpWidth = 24, layers = 2, buckets = 8
    public var isGated = true
    public var seed: UInt64 = 1

    public init() {}

    /// Names and extents.
    public var shapes: [String: [Int]] {
        var shapes: [String: [Int]] = [
            "shared.weight": [vocabulary, width], "encoder.final_layer_norm.weight": [width],
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": [buckets, heads],
        ]
        for block in 0..<layers {
            let name = "encoder.block.\(block).layer"
            for part in ["q", "k", "v"] { shapes["\(name).0.SelfAttention.\(part).weight"] = [heads * headDim, width] }
            shapes["\(name).0.SelfAttention.o.weight"] = [width, heads * headDim]
            for layer in 0..<2 { shapes["\(name).\(layer).layer_norm.weight"] = [width] }
            for part in isGated ? ["wi_0", "wi_1"] : ["wi"] {
                shapes["\(name).1.DenseReluDense.\(part).weight"] = [mlpWidth, width]
            }
            shapes["\(name).1.DenseReluDense.wo.weight"] = [width, mlpWidth]
        }
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 1) }

    /// `config.json`.
    public var config: [String: JSON] {
        [
            "architectures": .array([.string("T5EncoderModel")]), "model_type": .string("t5"),
            "vocab_size": .integer(vocabulary), "d_model": .integer(width), "d_kv": .integer(headDim),
            "num_heads": .integer(heads), "d_ff": .integer(mlpWidth), "num_layers": .integer(layers),
            "relative_attention_num_buckets": .integer(buckets), "relative_attention_max_distance": .integer(20),
            "feed_forward_proj": .string(isGated ? "gated-gelu" : "relu"),
        ]
    }
}
