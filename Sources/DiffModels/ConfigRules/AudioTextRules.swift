public import DiffCheckpoint

extension CLAPTextConfiguration {
    /// Settings of CLAP's text tower and of the model that it is a part of, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation,
        ConfigRules.transformers,
        [
            .harmless(
                ["audio_config", "logit_scale_init_value", "fusion_hidden_size", "fusion_num_hidden_layers"],
                "of the tower for sounds, which is not run"),
            .harmless(
                ["hidden_size", "num_hidden_layers", "projection_dim", "projection_hidden_act"],
                "a copy of what is read: of a tower's by the whole model, or the other way round"),
            .harmless(["tie_word_embeddings", "classifier_dropout"], "of outputs that text towers do not have"),
            .only("position_embedding_type", [.string("absolute")], "positions of another kind"),
        ])
}

extension GPT2Configuration {
    /// Settings of GPT-2, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation,
        ConfigRules.transformers,
        [
            .harmless(["vocab_size", "tie_word_embeddings"], "of tokens, which vectors stand in for"),
            .harmless(["n_ctx"], "a copy of n_positions"),
            .harmless(["is_decoder"], "GPT-2 sees earlier positions only, whatever it says"),
            .harmless(["reorder_and_upcast_attn"], "the same numbers computed another way, here in f32"),
            .harmless(
                [
                    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
                    "summary_first_dropout",
                ], "of a head that chooses among texts"),
        ])
}

extension AudioProjectionConfiguration {
    /// Settings of AudioLDM2's projection, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin,
        [.only("_class_name", [.string("AudioLDM2ProjectionModel")], "the class of another projection")])
}

extension FileRules {
    /// `model_index.json` of AudioLDM and AudioLDM 2.
    public static let audio = ConfigRules(
        ConfigRules.origin,
        [
            .harmless(
                [
                    "_class_name", "_module", "_ignore_files", "unet", "vae", "vocoder", "scheduler", "text_encoder",
                    "text_encoder_2", "tokenizer", "tokenizer_2", "projection_model", "language_model",
                ],
                "names the class of a part, whose own config is read"),
            .harmless(
                ["feature_extractor"], "reads sounds for CLAP, which judges none here"),
        ])
}
