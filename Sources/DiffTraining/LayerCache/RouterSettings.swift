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
    /// One full step in so many: 2 as published; more lets several cached steps follow one another.
    public var period = 2
    /// Price of a score in the loss: the larger, the fewer sub-layers are computed.
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

    /// Reads the members of `json`; what is missing has its default, or what `fallback` says. Throws `format`.
    public init(_ json: JSONObject, default fallback: RouterSettings = RouterSettings()) throws(DiffError) {
        steps = try json.integer("steps", in: 1...100_000_000, default: fallback.steps)
        samplingSteps = try json.integer("sampling_steps", in: 2...1000, default: fallback.samplingSteps)
        period = try json.integer("period", in: 2...1000, default: fallback.period)
        l1 = try json.number("l1", in: 0...1e6, default: fallback.l1)
        learningRate = try json.number("learning_rate", in: 0...1000, default: fallback.learningRate)
        let limit = try json.number("clamp", in: 0...1e6, default: fallback.clamp ?? 0)
        clamp = limit > 0 ? limit : nil
        straightThrough = try json.optionalNumber("straight_through", in: 0...1)
        threshold = try json.number("threshold", in: 0...1, default: fallback.threshold)
        batch = try json.integer("batch", in: 1...65_536, default: fallback.batch)
        seed = try json.seed(default: fallback.seed)
        labelDropout = try json.number("label_dropout", in: 0...1, default: fallback.labelDropout)
        let name = try json.optionalString("trajectory", oneOf: Trajectory.allCases.map(\.rawValue))
        trajectory = name.flatMap(Trajectory.init) ?? fallback.trajectory
        guidance = try json.number("guidance", in: 0...1000, default: fallback.guidance)
        guidanceChannels = try json.integer("guidance_channels", in: 1...1024, default: fallback.guidanceChannels)
        recomputes = try json.bool("recompute", default: fallback.recomputes)
    }

    /// Names that ``init(_:default:)`` reads.
    public static let names = [
        "steps", "sampling_steps", "period", "l1", "learning_rate", "clamp", "straight_through", "threshold", "batch",
        "seed", "label_dropout", "trajectory", "guidance", "guidance_channels", "recompute",
    ]

    /// What a resumed run must have in common with the one it goes on from. The number of steps may grow.
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
