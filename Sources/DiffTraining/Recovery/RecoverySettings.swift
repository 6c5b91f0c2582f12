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

    /// Steps of training.
    public var steps = 100_000
    /// AdamW's learning rate at the first step and after the last, half a cosine between, after `warmup` steps of a rising one.
    public var learningRate = PruningSettings.Ends(2e-4, 1e-4)
    /// Steps over which the learning rate rises from 0.
    public var warmup = 0
    /// Decoupled weight decay.
    public var weightDecay = 0.0
    /// The norm that gradients are scaled down to together.
    public var clip = 1.0
    /// Decay of the moving average of all weights.
    public var averageDecay = 0.9999
    /// Samples of a step.
    public var batch = 256
    /// Where random numbers come from.
    public var seed: UInt64 = 0
    /// Share of the labels replaced by the null class.
    public var labelDropout = 0.1
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
    /// Blocks are computed again in the backward pass instead of keeping their activations.
    public var recomputes = false

    /// The defaults.
    public init() {}

    /// Reads `json`. The pairs of `masked` come from `layer_map`, or from the `groups` that the student was pruned by. Throws `format`.
    public init(_ json: JSONObject) throws(DiffError) {
        steps = try json.integer("steps", in: 1...100_000_000, default: steps)
        learningRate = try PruningSettings.ends(json, "learning_rate", 0...1000, learningRate)
        warmup = try json.integer("warmup", in: 0...100_000_000, default: warmup)
        weightDecay = try json.number("weight_decay", in: 0...1000, default: weightDecay)
        clip = try json.number("clip", in: 1e-12...1e12, default: clip)
        averageDecay = try json.number("average_decay", in: 0...1, default: averageDecay)
        batch = try json.integer("batch", in: 1...65_536, default: batch)
        seed = try json.seed()
        labelDropout = try json.number("label_dropout", in: 0...1, default: labelDropout)
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
        recomputes = try json.bool("recompute", default: recomputes)
        if distillation == .masked { layerMap = try Self.layerMap(json) }
    }

    /// Names that ``init(_:)`` reads.
    public static let names = [
        "steps", "learning_rate", "warmup", "weight_decay", "clip", "average_decay", "batch", "seed", "label_dropout",
        "start",
        "distillation", "distillation_weight", "ground_weight", "feature_weight", "masking", "sigmas", "layer_map",
        "groups",
        "recompute",
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

    /// The learning rate of `step`.
    func rate(_ step: Int) -> Double {
        Schedule.cosine(learningRate.first, learningRate.last).value(step, of: steps, warmup: warmup)
    }

    /// What a resumed run must have in common with the one it goes on from.
    public var fingerprint: JSON {
        .object([
            "steps": .integer(steps), "learning_rate": learningRate.json, "warmup": .integer(warmup),
            "weight_decay": .number(weightDecay), "clip": .number(clip), "average_decay": .number(averageDecay),
            "batch": .integer(batch), "seed": .string(String(seed)), "label_dropout": .number(labelDropout),
            "start": .string(start.rawValue), "distillation": .string(distillation.rawValue),
            "distillation_weight": .number(distillationWeight), "ground_weight": .number(groundWeight),
            "feature_weight": featureWeight.json, "sigmas": .number(feature.sigmas),
            "masking": .string(feature.masking.rawValue),
            "layer_map": .array(layerMap.map { .array([.integer($0.student), .integer($0.teacher)]) }),
        ])
    }
}
