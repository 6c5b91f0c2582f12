public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of GPT-2, under the names of `GPT2Config`.
public struct GPT2Configuration: Sendable, Equatable {
    /// Width of the residual stream.
    public var width: Int
    /// Number of blocks.
    public var layers: Int
    /// Attention heads; the width divides by it.
    public var heads: Int
    /// Hidden width of a block's MLP.
    public var mlpWidth: Int
    /// Positions that there are embeddings for: no sequence may be longer.
    public var positions: Int
    /// Activation of the MLP.
    public var activation: Activation
    /// eps of the norms.
    public var eps: Float
    /// Whether products of queries and keys are divided by the root of the heads' width, and by the number of the block.
    public var scalesProducts: Bool, scalesByBlock: Bool
    /// Vectors that are generated where nobody says how many (`max_new_tokens`); nil: the config does not either.
    public var generated: Int?

    /// Reads a config of `GPT2Model` or `GPT2LMHeadModel`. Throws `format`, and `unsupported` for settings that change results and are not
    /// computed here.
    public init(_ c: JSONObject) throws(DiffError) {
        try Self.rules.refuse(c)
        width = try c.integer("n_embd", in: 1...Limits.width, default: 768)
        layers = try c.integer("n_layer", in: 1...Limits.layers, default: 12)
        heads = try c.integer("n_head", in: 1...Limits.heads, default: 12)
        positions = try c.integer("n_positions", in: 1...1 << 20, default: 1024)
        mlpWidth = try c.optionalInteger("n_inner", in: 1...1 << 20) ?? 4 &* width
        activation = try Activation(c, "activation_function", default: "gelu_new")
        eps = Float(try c.number("layer_norm_epsilon", in: 0...1, default: 1e-5))
        scalesProducts = try c.bool("scale_attn_weights", default: true)
        scalesByBlock = try c.bool("scale_attn_by_inverse_layer_idx", default: false)
        generated = try c.optionalInteger("max_new_tokens", in: 1...1 << 16)
        guard heads > 0, width >= 0, width % heads == 0 else {
            throw DiffError(.format, "\(c.place): a width of \(width) is not divisible into \(heads) heads")
        }
    }

    /// What products of queries and keys are multiplied by in block `index`; nil: as attention usually is.
    func scale(ofBlock index: Int) -> Float? {
        guard !scalesProducts || scalesByBlock else { return nil }
        let usual = scalesProducts ? 1 / Float(width / max(1, heads)).squareRoot() : 1
        return scalesByBlock ? usual / Float(index &+ 1) : usual
    }
}
