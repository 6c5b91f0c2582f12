public import DiffCheckpoint

extension LanguageConfiguration {
    /// Settings of a language model's config in any of the layouts, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation, tokens, llada, dream
    )

    private static let tokens: [ConfigRules.Entry] = [
        .harmless(
            ["pad_token_id", "bos_token_id", "sep_token_id", "cls_token_id"], "prompts come as tokens, without padding"),
        .harmless(["head_dim"], "the tensors' extents tell it"),
        .harmless(
            ["return_dict", "output_attentions", "output_hidden_states", "is_encoder_decoder"], "about Python objects"),
        .harmless(
            ["problem_type", "label2id", "id2label", "task_specific_params", "finetuning_task"], "about other tasks"),
        .harmless(["chunk_size_feed_forward", "torchscript"], "the same numbers computed another way"),
    ]

    /// `LLaDAModelLM` descends from OLMo and has many switches; published models use one setting of them.
    private static let llada: [ConfigRules.Entry] = [
        .only("block_type", [.string("llama")], "blocks of another kind"),
        .only("activation_type", [.string("silu")], "another activation"),
        .only("layer_norm_type", [.string("rms")], "another norm"),
        .only("include_bias", [.bool(false)], "linear layers with bias"),
        .only("alibi", [.bool(false)], "attention that falls with distance"),
        .harmless(["alibi_bias_max"], "of alibi, which is off"),
        .only("attention_layer_norm", [.bool(false)], "norms of queries and keys"),
        .harmless(["attention_layer_norm_with_affine"], "of attention_layer_norm, which is off"),
        .only("bias_for_layer_norm", [.bool(false)], "norms with bias"),
        .only("input_emb_norm", [.bool(false)], "embeddings that are scaled"),
        .only("scale_logits", [.bool(false)], "logits that are scaled"),
        .only("rope", [.bool(true)], "positions of another kind"),
        .only("layer_norm_with_affine", [.bool(true)], "norms without weights"),
        .only("clip_qkv", [], "queries, keys and values that are clipped"),
    ]

    /// `DreamModel`, and what Qwen2 and llama write besides.
    private static let dream: [ConfigRules.Entry] = [
        .only("hidden_act", [.string("silu")], "another activation"),
        .only("use_sliding_window", [.bool(false)], "attention to near positions only"),
        .harmless(["sliding_window", "max_window_layers"], "of use_sliding_window, which is off"),
        .only("layer_types", [.string("full_attention")], "attention to near positions only"),
        .harmless(["attention_bias"], "the tensors tell it"),
        .only("mlp_bias", [.bool(false)], "an MLP with bias"),
        .only("use_mrope", [.bool(false)], "positions of several axes"),
        .only("partial_rotary_factor", [.integer(1)], "rotary positions of a part of each head"),
        .only("logit_scale", [.integer(1)], "logits that are scaled"),
        .only("final_logit_softcapping", [], "logits that are bounded"),
        .only("attn_logit_softcapping", [], "attention that is bounded"),
        .only("use_qk_norm", [.bool(false)], "norms of queries and keys"),
        .only("num_experts", [], "an MLP of several experts"),
        .only("is_causal", [.bool(false)], "attention to earlier positions only"),
    ]
}
