import DiffCheckpoint
import DiffTensor

/// What every training of all weights of a network has, whatever its loss: length, AdamW's settings, averages, batches, draws.
public struct WeightTraining: Sendable, Equatable {
    /// Steps of training.
    public var steps: Int
    /// AdamW's learning rate at the first step and after the last, half a cosine between, after `warmup` steps of a rising one.
    public var learningRate: PruningSettings.Ends
    /// Steps over which the learning rate rises from 0.
    public var warmup = 0
    /// Decoupled weight decay.
    public var weightDecay = 0.0
    /// The norm that gradients are scaled down to together.
    public var clip = 1.0
    /// Decay of the moving average of all weights.
    public var averageDecay = 0.9999
    /// Samples of a step.
    public var batch: Int
    /// Where random numbers come from.
    public var seed: UInt64 = 0
    /// Share of the labels replaced by the null class.
    public var labelDropout = 0.1
    /// Blocks are computed again in the backward pass instead of keeping their activations.
    public var recomputes = false

    /// A training of that length.
    init(steps: Int, learningRate: PruningSettings.Ends, batch: Int) {
        (self.steps, self.learningRate, self.batch) = (steps, learningRate, batch)
    }

    /// These settings with what `json` says of them. Throws `format`.
    func reading(_ json: JSONObject) throws(DiffError) -> Self {
        var read = self
        read.steps = try json.integer("steps", in: 1...100_000_000, default: steps)
        read.learningRate = try PruningSettings.ends(json, "learning_rate", 0...1000, learningRate)
        read.warmup = try json.integer("warmup", in: 0...100_000_000, default: warmup)
        read.weightDecay = try json.number("weight_decay", in: 0...1000, default: weightDecay)
        read.clip = try json.number("clip", in: 1e-12...1e12, default: clip)
        read.averageDecay = try json.number("average_decay", in: 0...1, default: averageDecay)
        read.batch = try json.integer("batch", in: 1...65_536, default: batch)
        read.seed = try json.seed()
        read.labelDropout = try json.number("label_dropout", in: 0...1, default: labelDropout)
        read.recomputes = try json.bool("recompute", default: recomputes)
        return read
    }

    /// Names that ``reading(_:)`` reads.
    static let names = [
        "steps", "learning_rate", "warmup", "weight_decay", "clip", "average_decay", "batch", "seed", "label_dropout",
        "recompute",
    ]

    /// The learning rate of `step`.
    func rate(_ step: Int) -> Double {
        Schedule.cosine(learningRate.first, learningRate.last).value(step, of: steps, warmup: warmup)
    }

    /// What a resumed run must have in common with the one it goes on from, and `more` of the procedure's own.
    func fingerprint(and more: [String: JSON]) -> JSON {
        var members: [String: JSON] = [
            "steps": .integer(steps), "learning_rate": learningRate.json, "warmup": .integer(warmup),
            "weight_decay": .number(weightDecay), "clip": .number(clip), "average_decay": .number(averageDecay),
            "batch": .integer(batch), "seed": .string(String(seed)), "label_dropout": .number(labelDropout),
        ]
        for name in Array(more.keys).each { members.put(more[name] ?? .null, for: name) }
        return .object(members)
    }
}
