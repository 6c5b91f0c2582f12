public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of CLAP's text tower, under the names of `ClapTextConfig`.
public struct CLAPTextConfiguration: Sendable, Equatable {
    /// Rows of the token embedding.
    public var vocabulary: Int
    /// Width of the residual stream.
    public var width: Int
    /// Number of layers.
    public var layers: Int
    /// Attention heads; the width divides by it.
    public var heads: Int
    /// Hidden width of a layer's MLP.
    public var mlpWidth: Int
    /// Rows of the position embedding: those of the longest text, of the padding token's number, and one more.
    public var positions: Int
    /// Rows of the embedding of token types, of which the first is used.
    public var tokenTypes: Int
    /// The token whose positions do not count.
    public var padding: Int
    /// Activation of the MLPs of layers, and of the projection.
    public var activation: Activation, projectionActivation: Activation
    /// eps of the norms.
    public var eps: Float
    /// Width of the vector that a text becomes.
    public var projection: Int

    /// Reads a config of `ClapTextModelWithProjection`, or of a whole `ClapModel`, whose projections are said once for both towers. Throws
    /// `format`, and `unsupported` for settings that change results and are not computed here.
    public init(_ config: JSONObject) throws(DiffError) {
        try Self.rules.refuse(config)
        let nested = try config.optionalObject("text_config")
        if let nested { try Self.rules.refuse(nested) }
        let c = nested ?? config
        vocabulary = try c.integer("vocab_size", in: 1...Limits.vocabulary, default: 50265)
        width = try c.integer("hidden_size", in: 1...Limits.width, default: 768)
        layers = try c.integer("num_hidden_layers", in: 1...Limits.layers, default: 12)
        heads = try c.integer("num_attention_heads", in: 1...Limits.heads, default: 12)
        mlpWidth = try c.integer("intermediate_size", in: 1...1 << 20, default: 3072)
        positions = try c.integer("max_position_embeddings", in: 1...1 << 16, default: 514)
        tokenTypes = try c.integer("type_vocab_size", in: 1...1 << 16, default: 1)
        padding = try c.integer("pad_token_id", in: 0...Limits.vocabulary, default: 1)
        activation = try Activation(c, "hidden_act", default: "gelu")
        eps = Float(try c.number("layer_norm_eps", in: 0...1, default: 1e-12))
        projection = try config.integer("projection_dim", in: 1...Limits.width, default: 512)
        projectionActivation = try Activation(config, "projection_hidden_act", default: "relu")
        guard heads > 0, width >= 0, width % heads == 0 else {
            throw DiffError(.format, "\(c.place): a width of \(width) is not divisible into \(heads) heads")
        }
        guard positions > padding &+ 1 else {
            throw DiffError(
                .format,
                "\(c.place): \(positions) positions leave none for a text, whose first one is pad_token_id + 1 (\(padding &+ 1))"
            )
        }
    }

    /// The most tokens of a text.
    public var maxTokens: Int { positions &- padding &- 1 }
}
