public import DiffCheckpoint

extension ConfigRules {
    /// What transformers writes into the config of every model, used or not.
    static let transformers: [Entry] = [
        .harmless(
            [
                "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id",
                "decoder_start_token_id", "prefix", "tokenizer_class",
            ], "about tokens, which come from the tokenizer"),
        .harmless(
            [
                "return_dict", "output_attentions", "output_hidden_states", "use_return_dict", "torchscript",
                "use_bfloat16",
                "chunk_size_feed_forward", "tf_legacy_loss", "_attn_implementation_autoset",
            ], "about Python objects, or the same numbers computed another way"),
        .harmless(
            ["problem_type", "label2id", "id2label", "num_labels", "task_specific_params", "finetuning_task"],
            "about other tasks"),
        .harmless(
            [
                "min_length", "max_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
                "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
                "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
                "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id",
                "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
                "suppress_tokens", "begin_suppress_tokens",
            ], "about writing text"),
        .harmless(["tie_encoder_decoder", "cross_attention_hidden_size"], "about models of two parts"),
        .only("is_decoder", [.bool(false)], "an encoder that sees earlier tokens only, and other states"),
        .only("add_cross_attention", [.bool(false)], "attention to the states of another model"),
        .only("pruned_heads", [.object([:])], "layers without some of their heads"),
    ]
}

extension CLIPTextConfiguration {
    /// Settings of CLIP's text tower, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation,
        ConfigRules.transformers,
        [
            .harmless(["tie_word_embeddings", "logit_scale_init_value"], "of outputs that text towers do not have")
        ])
}

extension T5Configuration {
    /// Settings of T5, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation,
        ConfigRules.transformers,
        [
            .harmless(
                [
                    "num_decoder_layers", "is_encoder_decoder", "scale_decoder_outputs", "tie_word_embeddings",
                    "classifier_dropout", "output_past",
                ], "of the decoder"),
            .harmless(["n_positions"], "texts of any length are taken"),
        ])
}
