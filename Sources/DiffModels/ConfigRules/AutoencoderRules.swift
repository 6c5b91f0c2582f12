public import DiffCheckpoint

extension AutoencoderConfiguration {
    /// Settings of an `AutoencoderKL`, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.execution,
        [
            .only("_class_name", [.string("AutoencoderKL")], "the class of another decoder"),
            .harmless(["sample_size"], "pictures of every size are taken"),
            .only("act_fn", [.string("silu"), .string("swish")], "another activation"),
            .only("down_block_types", [.string("DownEncoderBlock2D")], "levels of another kind"),
            .only("up_block_types", [.string("UpDecoderBlock2D")], "levels of another kind"),
            .only("mid_block_add_attention", [.bool(true)], "a coarsest level without attention"),
            .only("latents_mean", [], "latents that are shifted by channel"),
            .only("latents_std", [], "latents that are scaled by channel"),
        ])
}
