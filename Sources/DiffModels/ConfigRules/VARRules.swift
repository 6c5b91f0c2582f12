public import DiffCheckpoint

extension VARConfiguration {
    /// Settings of a VAR, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation,
        [
            .harmless(["cond_drop_rate", "init_adaln", "init_adaln_gamma", "init_head"], "acts in training only"),
            .harmless(["vae", "vae_ckpt"], "the VQ-VAE has a config of its own"),
        ])
}

extension VQVAEConfiguration {
    /// Settings of a multi-scale VQ-VAE, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout,
        [
            .harmless(["beta", "vocab_width", "test_mode"], "acts in training only"),
            .only("default_qresi_counts", [.integer(0)], "convolutions for other ranges of scales"),
            .only("quant_conv_ks", [.integer(3)], "convolutions of another size around the codes"),
            .only("in_channels", [.integer(3)], "pictures with other channels"),
            .only("double_z", [.bool(false)], "distributions in place of codes"),
            .only("using_sa", [.bool(true)], "coarsest levels without attention"),
            .only("using_mid_sa", [.bool(true)], "a middle without attention"),
        ])
}
