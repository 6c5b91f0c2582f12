public import DiffCheckpoint

extension UNetConfiguration {
    /// Settings of a `UNet2DConditionModel` or `AudioLDM2UNet2DConditionModel`, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.dropout, ConfigRules.execution, conditioning, blocks,
        [
            .only(
                "_class_name", [.string("UNet2DConditionModel"), .string("AudioLDM2UNet2DConditionModel")],
                "the class of another network"),
            .harmless(
                [
                    "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step",
                    "use_ema_warmup",
                ], "how the weights were averaged in training"),
            .only("center_input_sample", [.bool(false)], "inputs that are moved to -1 ... 1 first"),
            .only("act_fn", [.string("silu"), .string("swish")], "another activation"),
        ])

    private static let conditioning: [ConfigRules.Entry] = [
        .only("encoder_hid_dim", [], "a projection of what attention reads"),
        .only("encoder_hid_dim_type", [], "a projection of what attention reads"),
        .only("class_embed_type", [.string("simple_projection")], "conditioning on a class of another kind"),
        .only("num_class_embeds", [], "conditioning on a class"),
        .only("addition_embed_type", [.string("text_time")], "conditioning of another kind"),
        .harmless(["addition_embed_type_num_heads"], "of conditioning of another kind"),
        .only("time_embedding_type", [.string("positional")], "features of the time of another kind"),
        .only("time_embedding_act_fn", [], "an activation of the time's embedding"),
        .only("timestep_post_act", [], "an activation of the time's embedding"),
    ]

    private static let blocks: [ConfigRules.Entry] = [
        .only(
            "down_block_types", [.string("DownBlock2D"), .string("CrossAttnDownBlock2D")], "blocks of another kind"),
        .only("up_block_types", [.string("UpBlock2D"), .string("CrossAttnUpBlock2D")], "blocks of another kind"),
        .only(
            "mid_block_type", [.string("UNetMidBlock2DCrossAttn"), .string("UNetMidBlock2D")],
            "a middle of another kind"),
        .only("only_cross_attention", [.bool(false)], "blocks without self-attention"),
        .only("mid_block_only_cross_attention", [.bool(false)], "a middle without self-attention"),
        .only("dual_cross_attention", [.bool(false)], "attention to two contexts"),
        .only("cross_attention_norm", [], "a norm of what attention reads"),
        .only("attention_type", [.string("default")], "attention of another kind"),
        .only("resnet_time_scale_shift", [.string("default")], "times that scale channels"),
        .only("resnet_skip_time_act", [.bool(false)], "resnets without an activation of the time"),
        .only("resnet_out_scale_factor", [.integer(1)], "resnets whose output is scaled"),
        .only("mid_block_scale_factor", [.integer(1)], "resnets whose output is scaled"),
    ]
}
