public import DiffCheckpoint

extension AutoencoderConfiguration {
    /// Settings of an `AutoencoderKL`, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.execution, ConfigRules.dropout,
        [
            .only("_class_name", [.string("AutoencoderKL")], "the class of another decoder"),
            .harmless(
                ["resolution", "attn_resolutions", "encoder_attn_resolutions", "decoder_attn_resolutions"],
                "the tensors tell where there is attention, and pictures of every size are taken"),
            .harmless(["ckpt_path", "monitor", "lossconfig"], "about training"),
            .only("double_z", [.bool(true)], "latents that are no distributions"),
            .only("use_variational", [.bool(true)], "latents that are no distributions"),
            .only("eps", [.number(1e-6)], "norms with another eps"),
            .only("tanh_out", [.bool(false)], "pictures through a hyperbolic tangent"),
            .only("resamp_with_conv", [.bool(true)], "levels without convolutions between them"),
            .only("attn_type", [.string("vanilla")], "attention of another kind"),
            .harmless(["sample_size"], "pictures of every size are taken"),
            .only("act_fn", [.string("silu"), .string("swish")], "another activation"),
            .only("down_block_types", [.string("DownEncoderBlock2D")], "levels of another kind"),
            .only("up_block_types", [.string("UpDecoderBlock2D")], "levels of another kind"),
        ])
}

extension AutoencoderTinyConfiguration {
    /// Settings of an `AutoencoderTiny`, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.execution,
        [
            .only("_class_name", [.string("AutoencoderTiny")], "the class of another decoder"),
            .harmless(["latent_magnitude", "latent_shift"], "of latents that are stored in bytes"),
            .harmless(["block_out_channels"], "a copy of the decoder's"),
            .only("act_fn", [.string("relu")], "another activation"),
            .only("upsample_fn", [.string("nearest")], "another enlargement"),
        ])
}
