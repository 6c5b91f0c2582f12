import DiffCheckpoint
import DiffTensor

extension LanguageConfiguration {
    /// Reads the config of `ILLaDAForCausalLM`: the names of Llama, grouped queries, a tied head. It is decoded as LLaDA is.
    ///
    /// The published config names no mask token. Of the published vocabulary it is known; otherwise it has to be given.
    init(illada c: JSONObject) throws(DiffError) {
        family = .illada
        width = try c.integer("hidden_size", in: 2...Limits.width)
        layers = try c.integer("num_hidden_layers", in: 1...Limits.layers)
        heads = try c.integer("num_attention_heads", in: 1...Limits.heads)
        kvHeads = try c.integer("num_key_value_heads", in: 1...Limits.heads)
        headDim = try Self.headDim(width, heads, c)
        mlpWidth = try c.integer("intermediate_size", in: 1...Self.maxMLPWidth)
        vocabulary = try c.integer("vocab_size", in: 1...Limits.vocabulary)
        rotaryBase = try RotarySettings.base(c, default: nil)
        eps = Float(try c.number("rms_norm_eps", in: 0...1))
        // transformers leaves the key out where it is true.
        isTied = try c.bool("tie_word_embeddings", default: true)
        hasProjectionBias = false
        let isPublished = vocabulary == Self.publishedVocabulary
        maskToken =
            try c.optionalInteger("mask_token_id", in: 0...Limits.vocabulary)
            ?? (isPublished ? Self.publishedMask : nil)
        endTokens = try Self.endTokens(c)
        trainedLength = try c.integer("max_position_embeddings", in: 1...1 << 24, default: 8192)
        guard try c.string("hidden_act", default: "silu") == "silu" else {
            throw DiffError(.unsupported, "\(c.place): hidden_act must be \"silu\"")
        }
        for key in ["attention_bias", "mlp_bias"] where try c.bool(key, default: false) {
            throw DiffError(.unsupported, "\(c.place): \(key) must be false")
        }
        guard !c.has("layer_norm_eps") else {
            throw DiffError(.unsupported, "\(c.place): layer_norm_eps must be null: norms have no mean here")
        }
    }

    private static let publishedVocabulary = 155136, publishedMask = 5
}
