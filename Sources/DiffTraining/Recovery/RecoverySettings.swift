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
        /// Drawn anew as DiT's are before training; the checkpoint gives names and shapes.
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

    /// Reads `json`. The pairs of `masked` come from `layer_map`, or from the `groups` that the student was pruned by. Throws `format`.
    public init(_ json: JSONObject) throws(DiffError) {
        training = try training.reading(json)
        let from = try json.optionalString("start", oneOf: Start.allCases.map(\.rawValue))
        start = from.flatMap(Start.init) ?? start
        let name = try json.optionalString("distillation", oneOf: Distillation.allCases.map(\.rawValue))
        distillation = name.flatMap(Distillation.init) ?? distillation
        distillationWeight = try json.number("distillation_weight", in: 0...1e6, default: distillationWeight)
        groundWeight = try json.number("ground_weight", in: 0...1e6, default: groundWeight)
        featureWeight = try PruningSettings.ends(json, "feature_weight", 0...1e6, featureWeight)
        let masking = try json.optionalString("masking", oneOf: FeatureLoss.Masking.allCases.map(\.rawValue))
        feature = FeatureLoss(
            sigmas: try json.number("sigmas", in: 0...1e6, default: 2),
            masking: masking.flatMap(FeatureLoss.Masking.init) ?? .published)
        if distillation == .masked { layerMap = try Self.layerMap(json) }
    }

    /// Names that ``init(_:)`` reads.
    public static let names =
        WeightTraining.names + [
            "start", "distillation", "distillation_weight", "ground_weight", "feature_weight", "masking", "sigmas",
            "layer_map", "groups",
        ]

    private static func layerMap(_ json: JSONObject) throws(DiffError) -> [RecoveryMethod.LayerPair] {
        let name = json.has("layer_map") ? "layer_map" : "groups"
        var pairs: [(Int, Int)] = []
        for entry in try json.array(name).each {
            guard case .array(let numbers) = entry, numbers.count == 2, let a = numbers.first?.asDouble,
                let b = numbers.last?.asDouble, let first = Checked.integer(a), let second = Checked.integer(b),
                first >= 0, second >= 0, first <= Limits.layers, second <= Limits.layers
            else { throw json.error(name, "expected pairs of block numbers") }
            pairs.append((first, second))
        }
        guard pairs.count <= Limits.layers else { throw json.error(name, "more than \(Limits.layers) pairs") }
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

    /// What a resumed run must have in common with the one it goes on from.
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
