public import DiffCheckpoint

// The settings of published config files that nothing is computed with, with the reason why each may be left alone, and those that
// are supported with one value only. A key that is in none of these lists and is never read is reported as unknown.

extension ConfigRules {
    /// What programs that write checkpoints note about themselves.
    static let origin: [Entry] = [
        .harmless(
            [
                "_name_or_path", "_diffusers_version", "transformers_version", "name", "name_or_path", "_commit_hash",
                "_use_default_values",
            ],
            "says where the files come from"),
        .harmless(
            ["architectures", "auto_map", "model_type", "family", "kind"], "names code; the family was chosen by it"),
        .harmless(
            ["torch_dtype", "dtype", "precision", "params_dtype", "_attn_implementation", "attn_implementation"],
            "weights stay in their file's type or the one asked for, sums are f32"),
        .harmless(["pruned_from", "specialised"], "notes of learning in this library"),
        .only("quantization_config", [], "weights that are stored quantised"),
        .only("quantization", [], "weights that are stored quantised"),
        .only("compression_config", [], "weights that are stored compressed"),
    ]

    /// Dropout of every name: it acts in training only.
    static let dropout: [Entry] = [
        .harmless(
            [
                "dropout", "dropout_rate", "drop_rate", "attn_drop_rate", "drop_path_rate", "attention_dropout",
                "attention_probs_dropout_prob", "hidden_dropout_prob", "residual_dropout", "embedding_dropout",
                "resid_pdrop", "embd_pdrop", "attn_pdrop", "hidden_dropout",
            ], "acts in training only")
    ]

    /// How the weights were initialised before they were trained.
    static let initialisation: [Entry] = [
        .harmless(
            [
                "initializer_range", "initializer_cutoff_factor", "init_device", "init_fn", "init_std",
                "init_cutoff_factor", "initializer_factor", "_no_init", "init_std_factor",
            ], "the start of training")
    ]

    /// Settings of speed and memory that leave results alone.
    static let execution: [Entry] = [
        .harmless(
            [
                "use_cache", "flash_attention", "use_flash_attention", "flash_if_available", "fused_if_available",
                "pretraining_tp", "gradient_checkpointing", "use_memory_efficient_attention", "upcast_attention",
                "attention_softmax_in_fp32", "force_upcast", "rope_full_precision", "block_group_size",
            ], "the same numbers computed another way, here in f32")
    ]
}

/// Rules of the files that stand beside a config.
public enum FileRules {
    /// `model_index.json` of a pipeline.
    public static let pipeline = ConfigRules(
        ConfigRules.origin,
        [
            .only("_class_name", [.string("DiTPipeline")], "a pipeline that samples in its own way"),
            .harmless(["transformer", "vae", "scheduler"], "names the class of a part, whose own config is read"),
            .harmless(["_module", "_ignore_files"], "about the files, not the model"),
        ])

    /// `generation_config.json` beside a language model: defaults of requests in transformers. Requests here say everything themselves,
    /// so what they would be there is told, not taken.
    public static let generation = ConfigRules(
        ConfigRules.origin, ConfigRules.execution,
        [
            .harmless(
                ["_from_model_config", "bos_token_id", "pad_token_id", "return_dict_in_generate", "output_history"],
                "not about which tokens are chosen")
        ])

    /// `tokenizer_config.json` beside a `tokenizer.json`, which says how text is cut.
    public static let tokenizer = ConfigRules(
        ConfigRules.origin,
        [
            .harmless(
                [
                    "tokenizer_class", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens",
                    "vocab_size",
                    "bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "cls_token", "sep_token",
                    "gmask_token",
                    "model_max_length", "model_input_names", "padding_side", "truncation_side", "processor_class",
                    "use_fast",
                    "fast_tokenizer", "from_slow", "legacy", "trust_remote_code", "is_local", "backend",
                    "local_files_only",
                    "use_default_system_prompt", "special_tokens_map_file", "tokenizer_file", "vocab_file",
                    "merges_file",
                    "chat_template", "response_schema", "name_or_path", "device_map", "max_length", "stride",
                    "pad_to_multiple_of", "pad_token_type_id", "truncation_strategy",
                ], "tokenizer.json says what is done with the text, the request how long it is"),
            .only(
                "clean_up_tokenization_spaces", [.bool(false)], "spaces before punctuation are left out of decoded text"
            ),
            .only("split_special_tokens", [.bool(false)], "control tokens are cut like other text"),
            .only("add_prefix_space", [.bool(false)], "a space is prepended to every text"),
            .only("add_bos_token", [.bool(false)], "a token is prepended to every text"),
            .only("add_eos_token", [.bool(false)], "a token is appended to every text"),
            .only("errors", [.string("replace")], "invalid UTF-8 is decoded in another way"),
        ])

    /// `tokenizer_config.json` beside the tokenizer of a text encoder.
    public static let promptTokenizer = ConfigRules(
        ConfigRules.origin,
        [
            .harmless(
                [
                    "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "sep_token",
                    "cls_token", "mask_token", "model_input_names", "processor_class", "use_fast", "fast_tokenizer",
                    "from_slow", "legacy", "is_local", "backend", "local_files_only", "special_tokens_map_file",
                    "tokenizer_file", "vocab_file", "merges_file", "device_map", "max_length", "stride",
                    "truncation_strategy", "pad_to_multiple_of", "pad_token_type_id", "vocab_size",
                ], "the tokenizer's own files and the text encoder say what is done"),
            .harmless(
                ["clean_up_tokenization_spaces", "errors", "trim_offsets"],
                "about text made of tokens, and where tokens stand in a text"),
            .only("padding_side", [.string("right")], "padding before a text"),
            .only("truncation_side", [.string("right")], "the end of a text in place of its beginning"),
            .only("split_special_tokens", [.bool(false)], "control tokens are cut like other text"),
            .only("sp_model_kwargs", [.object([:])], "settings of another reader of pieces"),
        ])

    /// Files that change a model and that nothing here can apply, with the remedy.
    public static let refused = [
        (
            "adapter_config.json",
            "an adapter of PEFT: merge it into the weights (merge_and_unload) and save the whole model"
        ),
        ("quantize_config.json", "weights quantised by GPTQ: open the checkpoint that they were made of"),
        ("quant_config.json", "quantised weights: open the checkpoint that they were made of"),
        ("hf_quant_config.json", "quantised weights: open the checkpoint that they were made of"),
    ]
}
