public import DiffCheckpoint
public import DiffTensor

/// How a router is learned. ``init()`` has those of the released DiT-XL/2 router for 20 steps.
public struct RouterSettings: Sendable, Equatable {
    /// Which states the router meets while it learns.
    public enum Trajectory: String, Sendable, CaseIterable {
        /// Noised samples of the data, as published: errors of earlier cached steps are never seen.
        case data
        /// The model's own: it samples with the router learned so far, and every cached step on the way is a training step.
        case own
    }

    /// Iterations of learning.
    public var steps = 20_000
    /// Sampling steps the router is for, each of as many network calls as the model's sampler makes.
    public var samplingSteps = 20
    /// One step in `period` is a full one: 2 as published; more lets several cached steps follow one another.
    public var period = 2
    /// l1 penalty on scores in the loss: the larger, the fewer sub-layers are computed.
    public var l1 = 5e-6
    /// AdamW's learning rate.
    public var learningRate = 1e-3
    /// Logits are limited to ± this after each step; nil: not at all.
    public var clamp: Double? = 5
    /// Scores count as 0 or 1 by this threshold in the forward pass and as themselves in the backward pass; nil: as they are.
    public var straightThrough: Double?
    /// A sub-layer is computed where its score is above this: in exported plans, and in cached steps that lead to a training step.
    public var threshold = 0.1
    /// Samples of an iteration.
    public var batch = 64
    /// Where random numbers come from.
    public var seed: UInt64 = 0
    /// Share of the labels replaced by the null class; nil: what the model was trained with, 0.1.
    public var labelDropout: Double = 0.1
    /// Which states are learned from.
    public var trajectory = Trajectory.data
    /// With the own trajectory: guidance scale, as in the sampling the router is for; 1 or less: none.
    public var guidance = 1.0
    /// With guidance: guided epsilon channels.
    public var guidanceChannels = 3
    /// Blocks are computed again in the backward pass instead of keeping their activations.
    public var recomputes = false

    /// The defaults.
    public init() {}

    /// Those of the released U-ViT-H/2 router for 20 network calls.
    public static var uvit: RouterSettings {
        var settings = RouterSettings()
        (settings.samplingSteps, settings.l1, settings.clamp, settings.threshold) = (10, 0.1, nil, 0.9)
        return settings
    }

    /// What settings may say, with these values as defaults.
    public var options: [OptionSpec] {
        [
            .steps(steps),
            OptionSpec(
                "sampling_steps", .integer(2...1000), default: .integer(samplingSteps),
                "Sampling steps that the router is for."),
            OptionSpec("period", .integer(2...1000), default: .integer(period), "One step in this many is a full one."),
            OptionSpec(
                "l1", .number(0...1e6), default: .number(l1),
                "l1 penalty on scores in the loss: the larger, the fewer sub-layers are computed."),
            OptionSpec("learning_rate", .number(0...1000), default: .number(learningRate), "AdamW's learning rate."),
            OptionSpec(
                "clamp", .number(0...1e6), default: .number(clamp ?? 0),
                "Logits are clamped to this distance from 0; 0: not at all."
            ),
            OptionSpec(
                "straight_through", .number(0...1), absent: "scores count as they are",
                "Scores count as 0 or 1 by this threshold in the forward pass."),
            OptionSpec(
                "threshold", .number(0...1), default: .number(threshold),
                "A sub-layer of the exported plan is computed where its score is above this."),
            .batch(batch), .seed(seed), .labelDropout(labelDropout),
            OptionSpec(
                "trajectory", .cases(of: Trajectory.self), default: .string(trajectory.rawValue),
                "States to learn from: noised data, or the model's own samples with the router learned so far."),
            OptionSpec(
                "guidance", .number(0...1000), default: .number(guidance),
                "Of the trajectory own: guidance scale of the sampling the router is for; 1 or less: none."),
            OptionSpec(
                "guidance_channels", .integer(1...1024), default: .integer(guidanceChannels),
                "Of the trajectory own: channels of the prediction that are guided."),
            .recompute(recomputes),
        ]
    }

    /// Reads what was checked against ``options``, those of the defaults that hold. Throws `internal` for other tables.
    public init(_ options: Options) throws(DiffError) {
        steps = try options.get("steps")
        samplingSteps = try options.get("sampling_steps")
        period = try options.get("period")
        l1 = try options.get("l1")
        learningRate = try options.get("learning_rate")
        let limit: Double = try options.get("clamp")
        clamp = limit > 0 ? limit : nil
        straightThrough = try options.optional("straight_through")
        threshold = try options.get("threshold")
        batch = try options.get("batch")
        seed = try options.get("seed")
        labelDropout = try options.get("label_dropout")
        trajectory = try options.getCase("trajectory")
        guidance = try options.get("guidance")
        guidanceChannels = try options.get("guidance_channels")
        recomputes = try options.get("recompute")
    }

    /// What a resumed run must have in common with the one it resumes. The number of steps may grow.
    public var fingerprint: JSON {
        .object([
            "sampling_steps": .integer(samplingSteps), "period": .integer(period), "l1": .number(l1),
            "learning_rate": .number(learningRate), "clamp": .number(clamp ?? 0),
            "straight_through": straightThrough.map { .number($0) } ?? .null, "threshold": .number(threshold),
            "batch": .integer(batch), "seed": .string(String(seed)), "label_dropout": .number(labelDropout),
            "trajectory": .string(trajectory.rawValue), "guidance": .number(guidance),
            "guidance_channels": .integer(guidanceChannels),
        ])
    }
}
