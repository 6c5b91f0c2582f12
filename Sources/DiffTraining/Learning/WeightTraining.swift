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

    /// What settings may say of it, with these values as defaults; `warmup` in words where its default is none of them.
    func options(warmup words: String? = nil) -> [OptionSpec] {
        let type = OptionType.integer(0...100_000_000)
        let summary = "Steps over which the learning rate rises from 0."
        return [
            .steps(steps),
            .ends(
                "learning_rate", 0...1000, learningRate,
                "AdamW's learning rate at the first step and after the last, half a cosine between."),
            words.map { OptionSpec("warmup", type, absent: $0, summary) }
                ?? OptionSpec("warmup", type, default: .integer(warmup), summary),
            OptionSpec("weight_decay", .number(0...1000), default: .number(weightDecay), "Decoupled weight decay."),
            .clip(clip), .averageDecay(averageDecay), .batch(batch), .seed(seed), .labelDropout(labelDropout),
            .recompute(recomputes),
        ]
    }

    /// These settings with what `options` say of them. Throws `format`.
    func reading(_ options: Options) throws(DiffError) -> Self {
        var read = self
        read.steps = try options.get("steps")
        read.learningRate = try options.ends("learning_rate")
        read.warmup = try options.optional("warmup") ?? warmup
        read.weightDecay = try options.get("weight_decay")
        read.clip = try options.get("clip")
        read.averageDecay = try options.get("average_decay")
        read.batch = try options.get("batch")
        read.seed = try options.get("seed")
        read.labelDropout = try options.get("label_dropout")
        read.recomputes = try options.get("recompute")
        return read
    }

    /// The learning rate of `step`.
    func rate(_ step: Int) -> Double {
        Schedule.cosine(learningRate.first, learningRate.last).value(step, of: steps, warmup: warmup)
    }

    /// What a resumed run must have in common with the one it resumes, and `more` of the procedure's own.
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
