import DiffCheckpoint
import DiffTensor

extension LanguageConfiguration {
    /// Reads the config of `DreamModel`, the layout of Qwen2.5. Defaults are those of the published class, which differ from the
    /// published models.
    init(dream c: JSONObject) throws(DiffError) {
        family = .dream
        width = try c.integer("hidden_size", in: 2...Limits.width, default: 4096)
        layers = try c.integer("num_hidden_layers", in: 1...Limits.layers, default: 32)
        heads = try c.integer("num_attention_heads", in: 1...Limits.heads, default: 32)
        kvHeads = try c.integer("num_key_value_heads", in: 1...Limits.heads, default: heads)
        headDim = try Self.headDim(width, heads, c)
        mlpWidth = try c.integer("intermediate_size", in: 1...Self.maxMLPWidth, default: 22016)
        vocabulary = try c.integer("vocab_size", in: 1...Limits.vocabulary, default: 151936)
        rotaryBase = try RotarySettings.base(c, default: 10000)
        eps = Float(try c.number("rms_norm_eps", in: 0...1, default: 1e-6))
        isTied = try c.bool("tie_word_embeddings", default: false)
        hasProjectionBias = true
        maskToken = try c.optionalInteger("mask_token_id", in: 0...Limits.vocabulary)
        // <|endoftext|> from the config; <|im_end|> of the published vocabulary ends a turn.
        endTokens = try Self.endTokens(c, adding: Self.publishedEndOfTurn, to: Self.publishedEnd)
        trainedLength = try c.integer("max_position_embeddings", in: 1...1 << 24, default: 32768)
    }

    private static let publishedEnd = 151643, publishedEndOfTurn = 151645
}

extension LanguageNames {
    /// Names of the published Dream and iLLaDA checkpoints, which are those of Llama.
    static let llama = LanguageNames(
        embedding: "model.embed_tokens", blocks: "model.layers", finalNorm: "model.norm", head: "lm_head",
        attentionNorm: "input_layernorm", queries: "self_attn.q_proj", keys: "self_attn.k_proj",
        values: "self_attn.v_proj", attentionOut: "self_attn.o_proj", mlpNorm: "post_attention_layernorm",
        gate: "mlp.gate_proj", up: "mlp.up_proj", down: "mlp.down_proj")
}
