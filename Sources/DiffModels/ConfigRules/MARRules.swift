public import DiffCheckpoint

extension MARConfiguration {
    /// Settings of a MAR, beside those that are read: the arguments of the published programs.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, ConfigRules.initialisation,
        [
            .harmless(
                [
                    "mask_ratio_min", "label_drop_prob", "attn_dropout", "proj_dropout", "diffusion_batch_mul",
                    "grad_checkpointing", "ema_rate", "seq_len", "token_embed_dim",
                ], "acts in training only, or follows from the other settings"),
            .harmless(["vae_path", "vae_ckpt", "vae"], "the autoencoder has a config of its own"),
            .only("norm_layer", [], "another norm"),
            .only("norm_eps", [.number(1e-6)], "norms with another eps"),
            .only("qkv_bias", [.bool(true)], "projections without bias"),
        ])
}
