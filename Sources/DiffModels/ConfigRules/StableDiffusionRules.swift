public import DiffCheckpoint

extension FileRules {
    /// `model_index.json` of a Stable Diffusion pipeline.
    public static let stableDiffusion = ConfigRules(
        ConfigRules.origin,
        [
            .harmless(
                [
                    "_class_name", "_module", "_ignore_files", "unet", "transformer", "vae", "scheduler",
                    "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3",
                ],
                "names the class of a part, whose own config is read"),
            .harmless(
                [
                    "safety_checker", "feature_extractor", "image_encoder", "requires_safety_checker",
                    "add_watermarker",
                ],
                "a part that is not run here: what it does to a picture is left to the host"),
            .only(
                "requires_aesthetics_score", [.bool(false)],
                "SDXL's refiner, which is told a score of beauty; sample the base model"),
        ])
}
