public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of T5's encoder, under the names of `T5Config`.
public struct T5Configuration: Sendable, Equatable {
    /// Rows of the token embedding.
    public var vocabulary: Int
    /// Width of the residual stream.
    public var width: Int
    /// Elements of a head, and heads; their product need not be the width.
    public var headDim: Int, heads: Int
    /// Hidden width of a block's MLP.
    public var mlpWidth: Int
    /// Number of blocks.
    public var layers: Int
    /// Kinds of distances that attention tells apart, and from which distance on there is one for all.
    public var buckets: Int, maxDistance: Int
    /// eps of the norms.
    public var eps: Float
    /// Activation of the MLP, and whether it gates a second projection.
    public var activation: Activation, isGated: Bool

    /// Reads a config of T5 v1.0, v1.1, Flan-T5. Throws `format`, and `unsupported` for settings that change results and are not
    /// computed here.
    public init(_ c: JSONObject) throws(DiffError) {
        try Self.rules.refuse(c)
        vocabulary = try c.integer("vocab_size", in: 1...Limits.vocabulary, default: 32128)
        width = try c.integer("d_model", in: 1...Limits.width, default: 512)
        headDim = try c.integer("d_kv", in: 1...1024, default: 64)
        heads = try c.integer("num_heads", in: 1...Limits.heads, default: 8)
        mlpWidth = try c.integer("d_ff", in: 1...1 << 20, default: 2048)
        layers = try c.integer("num_layers", in: 1...Limits.layers, default: 6)
        buckets = try c.integer("relative_attention_num_buckets", in: 4...256, default: 32)
        maxDistance = try c.integer("relative_attention_max_distance", in: 2...1 << 20, default: 128)
        eps = Float(try c.number("layer_norm_epsilon", in: 0...1, default: 1e-6))
        (activation, isGated) = try Self.feedForward(c)
        guard maxDistance > buckets / 4 else {
            throw DiffError(
                .format,
                "\(c.place): \(buckets) kinds of distances up to \(maxDistance): the last of them must be beyond the first "
                    + "quarter")
        }
    }

    /// `feed_forward_proj`: "relu", "gated-gelu", "gated-silu" and the like; newer files say the same in two more keys.
    private static func feedForward(_ c: JSONObject) throws(DiffError) -> (Activation, Bool) {
        let name = try c.string("feed_forward_proj", default: "relu")
        let isGated = name.hasPrefix("gated-")
        // "gated-gelu" has always meant the approximation.
        let plain = name == "gated-gelu" ? "gelu_new" : isGated ? String(name.dropFirst(6)) : name
        guard let activation = Activation(transformers: plain) else {
            throw DiffError(
                .unsupported,
                "\(c.place(of: "feed_forward_proj")): \"\(name)\": an activation that this library does not compute; known: relu, "
                    + "gated-gelu, gated-silu, gated-relu")
        }
        let gate = try c.bool("is_gated_act", default: isGated)
        let dense = c.has("dense_act_fn") ? try Activation(c, "dense_act_fn", default: plain) : activation
        guard gate == isGated, dense == activation else {
            throw DiffError(
                .format,
                "\(c.place): feed_forward_proj is \"\(name)\", which dense_act_fn or is_gated_act contradicts: pass the config with "
                    + "what the weights were trained with")
        }
        return (activation, isGated)
    }
}
