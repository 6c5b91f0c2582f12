public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of CLIP's text tower, under the names of `CLIPTextConfig`: CLIP ViT-L, OpenCLIP H and bigG.
public struct CLIPTextConfiguration: Sendable, Equatable {
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
    /// Positions that there are embeddings for: no text may have more tokens.
    public var positions: Int
    /// Activation of the MLP.
    public var activation: Activation
    /// eps of the norms.
    public var eps: Float
    /// Width of projected pooled states.
    public var projection: Int
    /// Whether pooled states are projected; nil: the config does not say, and the tensors tell.
    public var isProjected: Bool?
    /// The token whose state stands for the whole text: its first place. Nil: the first place of the largest token, as published configs
    /// mean it whose `eos_token_id` is 2.
    public var endToken: Int?

    /// Reads a config of `CLIPTextModel` or `CLIPTextModelWithProjection`. Throws `format`, and `unsupported` for settings that change
    /// results and are not computed here.
    public init(_ c: JSONObject) throws(DiffError) {
        try Self.rules.refuse(c)
        vocabulary = try c.integer("vocab_size", in: 1...Limits.vocabulary, default: 49408)
        width = try c.integer("hidden_size", in: 1...Limits.width, default: 512)
        layers = try c.integer("num_hidden_layers", in: 1...Limits.layers, default: 12)
        heads = try c.integer("num_attention_heads", in: 1...Limits.heads, default: 8)
        mlpWidth = try c.integer("intermediate_size", in: 1...1 << 20, default: 2048)
        positions = try c.integer("max_position_embeddings", in: 1...1 << 16, default: 77)
        activation = try Activation(c, "hidden_act", default: "quick_gelu")
        eps = Float(try c.number("layer_norm_eps", in: 0...1, default: 1e-5))
        projection = try c.integer("projection_dim", in: 1...Limits.width, default: 512)
        let end = try c.integer("eos_token_id", in: 0...Limits.vocabulary, default: 49407)
        endToken = end == 2 ? nil : end
        let classes = try c.strings("architectures", default: [])
        isProjected = classes.first.map { $0 != "CLIPTextModel" }
        guard heads > 0, width >= 0, width % heads == 0 else {
            throw DiffError(.format, "\(c.place): a width of \(width) is not divisible into \(heads) heads")
        }
    }
}
