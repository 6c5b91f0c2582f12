public import DiffCheckpoint

extension MMDiTConfiguration {
    /// Settings of an `SD3Transformer2DModel`, beside those that are read.
    public static let rules = ConfigRules(
        ConfigRules.origin, ConfigRules.execution,
        [
            .only("_class_name", [.string("SD3Transformer2DModel")], "the class of another network"),
            .only("pos_embed_type", [.string("sincos")], "positions of another kind"),
        ])
}
