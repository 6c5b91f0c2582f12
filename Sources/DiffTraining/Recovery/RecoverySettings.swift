public import DiffCheckpoint
public import DiffTensor

/// How a network's weights are trained: a pruned one after its loss of depth, or one from nothing. Defaults are those of the official
/// TinyFusion fine-tuning.
public struct RecoverySettings: Sendable, Equatable {
    /// What a teacher adds to the ordinary loss.
    public enum Distillation: String, Sendable, CaseIterable {
        case none
        /// Its outputs.
        case logits
        /// Its outputs and block outputs, massive activations left out.
        case masked
    }

    /// Where weights come from.
    public enum Start: String, Sendable, CaseIterable {
        case checkpoint
        /// Initialised as DiT's are before training; the checkpoint gives names and shapes.
        case scratch
    }

    /// Length, optimiser, batches and draws.
    public var training = WeightTraining(steps: 100_000, learningRate: .init(2e-4, 1e-4), batch: 256)
    /// Where weights come from.
    public var start = Start.checkpoint
    /// What a teacher adds.
    public var distillation = Distillation.none
    /// With a teacher: weights of the distillation loss and of the ordinary one.
    public var distillationWeight = 0.9, groundWeight = 0.1
    /// Of `masked`: weight of the feature loss at the first step and at the last, linear between.
    public var featureWeight = PruningSettings.Ends(0.01, 0)
    /// Of `masked`: what is done with massive activations.
    public var feature = FeatureLoss()
    /// Of `masked`: (student block, teacher block).
    public var layerMap: [RecoveryMethod.LayerPair] = []

    /// The defaults.
    public init() {}

    /// What settings may say.
    public static var options: [OptionSpec] {
        let usual = RecoverySettings()
        let pairs = OptionType.list(.list(.integer(0...Limits.layers), 2...2), 0...Limits.layers)
        return usual.training.options() + [
            OptionSpec(
                "start", .cases(of: Start.self), default: .string(usual.start.rawValue),
                "Where weights come from: the checkpoint, or a new initialisation."),
            OptionSpec(
                "distillation", .cases(of: Distillation.self), default: .string(usual.distillation.rawValue),
                "What a teacher adds: nothing, its outputs, or block outputs too, massive activations left out."),
            OptionSpec(
                "distillation_weight", .number(0...1e6), default: .number(usual.distillationWeight),
                "Weight of the distillation loss."),
            OptionSpec(
                "ground_weight", .number(0...1e6), default: .number(usual.groundWeight),
                "Weight of the ordinary loss beside a teacher."),
            .ends(
                "feature_weight", 0...1e6, usual.featureWeight,
                "Of masked: weight of the feature loss at the first step and at the last, linear between."),
            OptionSpec(
                "masking", .cases(of: FeatureLoss.Masking.self),
                default: .string(FeatureLoss.Masking.published.rawValue),
                "Of masked: what is done with massive activations."),
            OptionSpec(
                "sigmas", .number(0...1e6), default: .number(2),
                "Of masked: activations this many standard deviations from the mean count as massive."),
            OptionSpec("layer_map", pairs, absent: "made of `groups`", "Of masked: [student block, teacher block]."),
            OptionSpec(
                "groups", pairs, absent: "`layer_map` is given", "Of masked: the groups that the student was pruned by."
            ),
        ]
    }

    /// Reads what was checked against ``options``. The pairs of `masked` come from `layer_map`, or from the `groups` that the student was
    /// pruned by. Throws `format`.
    public init(_ options: Options) throws(DiffError) {
        training = try training.reading(options)
        start = try options.getCase("start")
        distillation = try options.getCase("distillation")
        distillationWeight = try options.get("distillation_weight")
        groundWeight = try options.get("ground_weight")
        featureWeight = try options.ends("feature_weight")
        feature = FeatureLoss(sigmas: try options.get("sigmas"), masking: try options.getCase("masking"))
        if distillation == .masked { layerMap = try Self.layerMap(options) }
    }

    private static func layerMap(_ options: Options) throws(DiffError) -> [RecoveryMethod.LayerPair] {
        let name = options.has("layer_map") ? "layer_map" : "groups"
        let pairs = try options.pairs(name, because: "the distillation masked needs a layer_map, or the groups")
        if name == "layer_map" { return pairs.map { RecoveryMethod.LayerPair(student: $0.0, teacher: $0.1) } }
        // The last kept block of each group learns from the group's last block (D14 of XL: i from 2 i + 1).
        var (student, teacher) = (0, 0)
        var map: [RecoveryMethod.LayerPair] = []
        for (kept, blocks) in pairs {
            (student, teacher) = (student &+ kept, teacher &+ blocks)
            if kept > 0 { map.append(RecoveryMethod.LayerPair(student: student &- 1, teacher: teacher &- 1)) }
        }
        return map
    }

    /// The method of a step.
    var method: RecoveryMethod {
        switch distillation {
        case .none: .plain
        case .logits: .logits
        case .masked: .masked(layerMap, feature)
        }
    }

    /// What a resumed run must have in common with the one it resumes.
    public var fingerprint: JSON {
        training.fingerprint(and: [
            "start": .string(start.rawValue), "distillation": .string(distillation.rawValue),
            "distillation_weight": .number(distillationWeight), "ground_weight": .number(groundWeight),
            "feature_weight": featureWeight.json, "sigmas": .number(feature.sigmas),
            "masking": .string(feature.masking.rawValue),
            "layer_map": .array(layerMap.map { .array([.integer($0.student), .integer($0.teacher)]) }),
        ])
    }
}
