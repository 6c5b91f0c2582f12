import DiffCheckpoint
import DiffTensor

/// A small CLAP text tower with random weights under the published names.
public struct TinyCLAPText: Sendable {
    public var vocabulary = 40, width = 16, layers = 2, heads = 4, mlpWidth = 24, positions = 12, projection = 6
    /// Whether it is a part of a whole `ClapModel`.
    public var isWhole = false
    public var seed: UInt64 = 1

    public init() {}

    /// Names and extents.
    public var shapes: [String: [Int]] {
        let (d, embeddings) = (width, "text_model.embeddings")
        var shapes: [String: [Int]] = [
            "\(embeddings).word_embeddings.weight": [vocabulary, d],
            "\(embeddings).position_embeddings.weight": [positions, d],
            "\(embeddings).token_type_embeddings.weight": [1, d],
        ]
        var (layers, norms): ([(String, Int, Int)], [String]) = ([], ["\(embeddings).LayerNorm"])
        for layer in 0..<self.layers {
            let name = "text_model.encoder.layer.\(layer)"
            for part in [
                "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            ] {
                layers.append(("\(name).\(part)", d, d))
            }
            layers += [("\(name).intermediate.dense", mlpWidth, d), ("\(name).output.dense", d, mlpWidth)]
            norms += ["\(name).attention.output.LayerNorm", "\(name).output.LayerNorm"]
        }
        layers += [
            ("text_model.pooler.dense", d, d), ("text_projection.linear1", projection, d),
            ("text_projection.linear2", projection, projection),
        ]
        for (name, outputs, inputs) in layers {
            shapes["\(name).weight"] = [outputs, inputs]
            shapes["\(name).bias"] = [outputs]
        }
        for name in norms {
            shapes["\(name).weight"] = [d]
            shapes["\(name).bias"] = [d]
        }
        if isWhole {
            shapes["audio_model.audio_encoder.patch_embed.proj.weight"] = [2, 1, 2, 2]
            shapes["audio_projection.linear1.bias"] = [projection]
            shapes["logit_scale_a"] = [1]
        }
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.5) }

    /// `config.json`.
    public var config: [String: JSON] {
        let text: [String: JSON] = [
            "model_type": .string("clap_text_model"), "vocab_size": .integer(vocabulary),
            "hidden_size": .integer(width), "num_hidden_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "intermediate_size": .integer(mlpWidth),
            "max_position_embeddings": .integer(positions), "projection_dim": .integer(projection),
        ]
        guard isWhole else {
            return text.merging(["architectures": .array([.string("ClapTextModelWithProjection")])]) { $1 }
        }
        return [
            "architectures": .array([.string("ClapModel")]), "model_type": .string("clap"),
            "text_config": .object(text), "audio_config": .object(["depths": .array([.integer(1)])]),
            "projection_dim": .integer(projection), "hidden_size": .integer(width), "num_hidden_layers": .integer(3),
        ]
    }
}

/// A small GPT-2 with random weights under the published names, weights as [inputs, outputs].
public struct TinyGPT2: Sendable {
    public var width = 16, layers = 2, heads = 4, positions = 24
    /// What stands in front of names: `transformer.` of a model with a head.
    public var prefix = ""
    public var seed: UInt64 = 1

    public init() {}

    /// Names and extents.
    public var shapes: [String: [Int]] {
        var shapes: [String: [Int]] = [
            "\(prefix)wpe.weight": [positions, width], "\(prefix)ln_f.weight": [width], "\(prefix)ln_f.bias": [width],
        ]
        for layer in 0..<layers {
            let name = "\(prefix)h.\(layer)"
            for norm in ["ln_1", "ln_2"] {
                shapes["\(name).\(norm).weight"] = [width]
                shapes["\(name).\(norm).bias"] = [width]
            }
            let parts = [
                ("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width), ("mlp.c_fc", width, 4 * width),
                ("mlp.c_proj", 4 * width, width),
            ]
            for (part, inputs, outputs) in parts {
                shapes["\(name).\(part).weight"] = [inputs, outputs]
                shapes["\(name).\(part).bias"] = [outputs]
            }
        }
        return shapes
    }

    /// Random weights, small enough that activations stay of size 1; the same for the same seed.
    public func tensors() throws(DiffError) -> [String: Tensor] { try tinyWeights(shapes, seed: seed, vectors: 0.5) }

    /// `config.json`.
    public var config: [String: JSON] {
        [
            "architectures": .array([.string("GPT2Model")]), "model_type": .string("gpt2"), "n_embd": .integer(width),
            "n_layer": .integer(layers), "n_head": .integer(heads), "n_positions": .integer(positions),
            "max_new_tokens": .integer(8),
        ]
    }
}
