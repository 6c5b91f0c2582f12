public import DiffCheckpoint
import DiffTensor

/// A part of a single file: its configuration in diffusers' or transformers' terms, and its tensors under their names.
public struct SingleFilePart: Sendable {
    /// What `config.json` would say in a folder.
    public let config: JSON
    /// A view of the file's tensors.
    public let tensors: TensorTable
}

/// Text encoders in single files: CLIP in transformers' names, OpenCLIP in its own, T5.
enum OriginalTextEncoders {
    /// What is at a place of a file.
    struct Found {
        var part: SingleFilePart
        /// Names that are left out on purpose.
        var ignored: [String]
        /// Width of the projected pooled vector; nil without a projection.
        var pooledWidth: Int?
    }

    /// How a CLIP encoder is used, which decides what of it is taken.
    struct Use {
        var activation: String
        /// Whether the pooled vector is projected.
        var projects: Bool
        /// Whether the last layer is left out: what reads the states before it needs no more.
        var dropsLast = false
        /// Whether the pooled vector is handed out as it is, whatever square projection the file holds.
        var projectsByIdentity = false
    }

    /// The CLIP encoder in transformers' names at `prefix`, which ends before `text_model.` (some files leave that out). Nil when there
    /// is none.
    static func clip(_ table: TensorTable, _ prefix: String, _ use: Use) throws(DiffError) -> Found? {
        let inner = table.has("\(prefix)text_model.embeddings.token_embedding.weight") ? "text_model." : ""
        func shape(_ name: String) -> Shape? { table.info("\(prefix)\(inner)\(name)")?.shape }
        guard let tokens = shape("embeddings.token_embedding.weight"),
            let positions = shape("embeddings.position_embedding.weight")
        else { return nil }
        let layers = count { shape("encoder.layers.\($0).layer_norm1.weight") != nil }
        var pairs = LayoutPairs()
        pairs.add("text_model.embeddings", "\(inner)embeddings")
        pairs.add("text_model.encoder", "\(inner)encoder")
        pairs.add("text_model.final_layer_norm", "\(inner)final_layer_norm")
        pairs.add("text_projection", "text_projection")
        let projection = table.info("\(prefix)text_projection.weight")?.shape
        let width = tokens.last
        let isPlain = use.projectsByIdentity && (projection?[0] ?? width) == width
        let pooled = isPlain ? width : projection?[0]
        let ignored = own(table, prefix) { name in
            name == "logit_scale" || name.hasSuffix("position_ids")
                || (name.hasPrefix("text_projection") && (isPlain || !use.projects))
        }
        let tensors = try table.view(
            of: prefix, pairs, excluding: ignored,
            identities: isPlain ? ["text_projection.weight": width] : [:])
        let config = configuration(
            tokens, positions, layers: layers, inner: shape("encoder.layers.0.mlp.fc1.weight")?[0], use,
            projection: use.projects ? pooled : nil)
        return Found(
            part: SingleFilePart(config: config, tensors: tensors), ignored: Array(ignored.keys),
            pooledWidth: use.projects ? pooled : nil)
    }

    /// The encoder in OpenCLIP's names at `prefix`, or nil.
    static func openClip(_ table: TensorTable, _ prefix: String, _ use: Use) throws(DiffError) -> Found? {
        func shape(_ name: String) -> Shape? { table.info(prefix + name)?.shape }
        guard let tokens = shape("token_embedding.weight"), let positions = shape("positional_embedding") else {
            return nil
        }
        let all = count { shape("transformer.resblocks.\($0).ln_1.weight") != nil }
        // Of a file that was cut already there is nothing more to cut.
        let layers = use.dropsLast && all != 23 ? max(1, all &- 1) : all
        var pairs = LayoutPairs()
        pairs.add("text_model.embeddings.token_embedding", "token_embedding")
        pairs.add("text_model.embeddings.position_embedding.weight", "positional_embedding")
        pairs.add("text_model.final_layer_norm", "ln_final")
        // As a matrix that is multiplied from the right, or as a linear layer.
        pairs.add("text_projection.weight", "text_projection.weight")
        if shape("text_projection") != nil { pairs.add("text_projection.weight", "text_projection", .transposed) }
        for layer in Indices(below: layers) {
            let (model, source) = ("text_model.encoder.layers.\(layer)", "transformer.resblocks.\(layer)")
            pairs.add(model, source, within: block)
            for (index, name) in ["q_proj", "k_proj", "v_proj"].numbered {
                for end in ["weight", "bias"].each {
                    pairs.add(
                        "\(model).self_attn.\(name).\(end)", "\(source).attn.in_proj_\(end)", .rows(index, of: 3))
                }
            }
        }
        let projection = shape("text_projection").map { $0[1] } ?? shape("text_projection.weight").map { $0[0] }
        let last = "transformer.resblocks.\(layers)."
        let ignored = own(table, prefix) { name in
            name == "logit_scale" || name == "attn_mask" || (layers < all && name.hasPrefix(last))
                || (name.hasPrefix("text_projection") && !use.projects)
        }
        let config = configuration(
            tokens, positions, layers: layers, inner: shape("transformer.resblocks.0.mlp.c_fc.weight")?[0], use,
            projection: use.projects ? projection : nil)
        let tensors = try table.view(of: prefix, pairs, excluding: ignored)
        return Found(
            part: SingleFilePart(config: config, tensors: tensors), ignored: Array(ignored.keys),
            pooledWidth: use.projects ? projection : nil)
    }

    private static let block = [
        ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
        ("self_attn.out_proj", "attn.out_proj"),
    ]

    /// The T5 encoder at `prefix`, or nil.
    static func t5(_ table: TensorTable, _ prefix: String) throws(DiffError) -> Found? {
        func shape(_ name: String) -> Shape? { table.info(prefix + name)?.shape }
        let first = "encoder.block.0.layer"
        guard let tokens = shape("shared.weight") ?? shape("encoder.embed_tokens.weight"),
            let bias = shape("\(first).0.SelfAttention.relative_attention_bias.weight"), bias[1] > 0,
            let queries = shape("\(first).0.SelfAttention.q.weight")
        else { return nil }
        let isGated = shape("\(first).1.DenseReluDense.wi_0.weight") != nil
        let inner = shape("\(first).1.DenseReluDense.\(isGated ? "wi_0" : "wi").weight")?[0] ?? 0
        let ignored = own(table, prefix) { name in name == "logit_scale" || name == "spiece_model" }
        let config: JSON = [
            "architectures": ["T5EncoderModel"], "model_type": "t5", "d_ff": .integer(inner),
            "d_kv": .integer(queries[0] / bias[1]), "d_model": .integer(tokens.last),
            "dense_act_fn": isGated ? "gelu_new" : "relu", "feed_forward_proj": isGated ? "gated-gelu" : "relu",
            "is_gated_act": .bool(isGated), "layer_norm_epsilon": 1e-06, "num_heads": .integer(bias[1]),
            "num_layers": .integer(count { shape("encoder.block.\($0).layer.0.SelfAttention.q.weight") != nil }),
            "relative_attention_max_distance": 128, "relative_attention_num_buckets": .integer(bias[0]),
            "pad_token_id": 0, "eos_token_id": 1, "vocab_size": .integer(tokens[0]),
        ]
        var pairs = LayoutPairs()
        pairs.add("shared", "shared")
        pairs.add("encoder", "encoder")
        let tensors = try table.view(of: prefix, pairs, excluding: ignored)
        return Found(
            part: SingleFilePart(config: config, tensors: tensors), ignored: Array(ignored.keys), pooledWidth: nil)
    }
}

extension OriginalTextEncoders {
    /// How many numbers from 0 on `condition` holds for.
    private static func count(_ condition: (Int) -> Bool) -> Int {
        var count = 0
        while count < Limits.layers, condition(count) { count &+= 1 }
        return count
    }

    /// The names at `prefix` for whose rest `condition` holds.
    private static func own(
        _ table: TensorTable, _ prefix: String, _ condition: (String) -> Bool
    ) -> [String: Bool] {
        var found: [String: Bool] = [:]
        for name in table.names.each {
            if let rest = name.without(prefix: prefix), condition(rest) { found.put(true, for: name) }
        }
        return found
    }

    private static func configuration(
        _ tokens: Shape, _ positions: Shape, layers: Int, inner: Int?, _ use: Use, projection: Int?
    ) -> JSON {
        let width = tokens.last
        // Heads of 64 channels, as in all published CLIP models.
        return [
            "architectures": [use.projects ? "CLIPTextModelWithProjection" : "CLIPTextModel"],
            "model_type": "clip_text_model", "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
            "hidden_act": .string(use.activation), "hidden_size": .integer(width),
            "intermediate_size": .integer(inner ?? 4 &* width), "layer_norm_eps": 1e-05,
            "max_position_embeddings": .integer(positions[0]), "num_attention_heads": .integer(max(1, width / 64)),
            "num_hidden_layers": .integer(layers), "projection_dim": .integer(projection ?? width),
            "vocab_size": .integer(tokens[0]),
        ]
    }
}
