public import DiffCheckpoint

extension VocoderConfiguration {
    /// Settings of a `SpeechT5HifiGan`, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.initialisation, ConfigRules.transformers,
        [
            .harmless(["is_encoder_decoder", "tie_word_embeddings"], "about models of text"),
            .only("model_type", [.string("speecht5_hifigan"), .string("hifigan")], "a vocoder of another kind"),
        ])
}
