public import DiffCheckpoint

extension DiTConfiguration {
    /// Settings of a DiT's config in either layout, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution,
        [
            .only(
                "_class_name", [.string("DiTTransformer2DModel"), .string("Transformer2DModel")],
                "the class of another network"),
            .harmless(["norm_num_groups", "use_linear_projection"], "of inputs that are not patches"),
            .harmless(["num_vector_embeds", "compress_ratio"], "null in every DiT"),
            .only("activation_fn", [.string("gelu-approximate")], "another activation"),
            .only("norm_type", [.string("ada_norm_zero")], "another conditioning"),
            .only("norm_elementwise_affine", [.bool(false)], "norms with weights of their own"),
            .only("attention_bias", [.bool(true)], "projections without bias"),
            .only("attention_type", [.string("default")], "attention of another kind"),
            .only("double_self_attention", [.bool(false)], "a second attention in every block"),
            .only("only_cross_attention", [.bool(false)], "attention to something else than the image"),
            .only("cross_attention_dim", [], "attention to something else than the image"),
            .only("caption_channels", [], "conditioning on text"),
            .only("use_additional_conditions", [.bool(false)], "further conditioning"),
            .only("interpolation_scale", [.integer(1)], "positions on another scale"),
            .only("num_vector_embeds", [], "inputs that are codes"),
            .only("qk_norm", [.bool(false)], "norms of queries and keys"),
            .only("use_rope", [.bool(false)], "rotary positions"),
        ])
}
