import DiffCheckpoint
import DiffTensor

extension LanguageConfiguration {
    /// Reads the config of `LLaDAModelLM`.
    init(llada c: JSONObject) throws(DiffError) {
        family = .llada
        width = try c.integer("d_model", in: 2...Limits.width)
        layers = try c.integer("n_layers", in: 1...Limits.layers)
        heads = try c.integer("n_heads", in: 1...Limits.heads)
        let shared = try c.bool("multi_query_attention", default: false) ? 1 : heads
        kvHeads = try c.integer("n_kv_heads", in: 1...Limits.heads, default: shared)
        headDim = try Self.headDim(width, heads, c)
        let ratio = try c.integer("mlp_ratio", in: 1...1024, default: 4)
        mlpWidth = try c.integer("mlp_hidden_size", in: 1...Self.maxMLPWidth, default: ratio * width)
        let size = try c.integer("vocab_size", in: 1...Limits.vocabulary)
        vocabulary = try c.integer("embedding_size", in: 1...Limits.vocabulary, default: size)
        rotaryBase = try RotarySettings.base(c, default: 10000)
        eps = Float(try c.number("rms_norm_eps", in: 0...1, default: 1e-5))
        isTied = try c.bool("weight_tying", default: true)
        hasProjectionBias = try c.bool("include_qkv_bias", default: false)
        maskToken = try c.optionalInteger("mask_token_id", in: 0...Limits.vocabulary)
        // <|endoftext|> from the config; <|eot_id|> of the published vocabulary ends a turn.
        endTokens = try Self.endTokens(c, adding: Self.publishedEndOfTurn, to: Self.publishedEnd)
        trainedLength = try c.integer("max_sequence_length", in: 1...1 << 24, default: 4096)
    }

    private static let publishedEnd = 126081, publishedEndOfTurn = 126348
}

extension LanguageNames {
    /// Names of the published LLaDA checkpoints.
    static let llada = LanguageNames(
        embedding: "model.transformer.wte", blocks: "model.transformer.blocks", finalNorm: "model.transformer.ln_f",
        head: "model.transformer.ff_out", attentionNorm: "attn_norm", queries: "q_proj", keys: "k_proj",
        values: "v_proj", attentionOut: "attn_out", mlpNorm: "ff_norm", gate: "ff_proj", up: "up_proj", down: "ff_out")
}
