public import DiffCheckpoint

extension UViTConfiguration {
    /// Settings of a U-ViT's config, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution,
        [
            .harmless(["use_checkpoint"], "memory of training"),
            .harmless(["extras", "num_blocks_total"], "follows from the other settings"),
            .only("norm_eps", [.number(1e-5)], "norms with another eps"),
            .only("norm_layer", [.null], "another norm"),
        ])
}

extension SiT {
    /// Settings of a SiT's config, beside those that are read: DiT's official layout and the flow.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution,
        [
            .harmless(["sde_diffusion_form", "nfe"], "requests say how they are sampled"),
            .harmless(["loss_weight", "loss-weight", "train_eps", "sample_eps"], "about training"),
        ])
}
