public import DiffCheckpoint
public import DiffTensor

/// How a next-scale network is made better at its part of collaborative decoding. Where the CoDe paper is silent, defaults follow
/// the published training of VAR.
public struct SpecialisationSettings: Sendable, Equatable {
    /// What the network will do.
    public enum Role: String, Sendable, CaseIterable {
        /// Draws the first scales: it learns the codes that are there, on those scales alone.
        case drafter
        /// Draws the other scales: it learns a teacher's whole distribution on them.
        case refiner
    }

    /// What the network will do.
    public var role: Role
    /// N: scales that the drafter draws.
    public var draftScales: Int
    /// Steps of training.
    public var steps = 3000
    /// AdamW's learning rate at the first step and after the last, half a cosine between, after `warmup` steps of a rising one.
    public var learningRate = PruningSettings.Ends(1e-4, 1e-5)
    /// Steps over which the learning rate rises from 0; by default a fiftieth of all.
    public var warmup = 60
    /// Decoupled weight decay of matrices; tables, vectors and biases have none.
    public var weightDecay = 0.05
    /// The norm that gradients are scaled down to together.
    public var clip = 2.0
    /// Decay of the moving average of all weights.
    public var averageDecay = 0.999
    /// Samples of a step.
    public var batch = 64
    /// Where random numbers come from.
    public var seed: UInt64 = 0
    /// Share of the labels replaced by the null class.
    public var labelDropout = 0.1
    /// Of a refiner: α and T of ``TokenLoss``.
    public var divergenceShare = 1.0, temperature = 1.0
    /// Share of a code's weight in the cross-entropy that is spread over all codes.
    public var labelSmoothing = 0.0
    /// Blocks are computed again in the backward pass instead of keeping their activations.
    public var recomputes = false

    /// The defaults of a role.
    public init(_ role: Role, draftScales: Int) { (self.role, self.draftScales) = (role, draftScales) }

    /// Reads `json`. Throws `format`.
    public init(_ json: JSONObject) throws(DiffError) {
        let name = try json.string("role", oneOf: Role.allCases.map(\.rawValue))
        role = Role(rawValue: name) ?? .drafter
        draftScales = try json.integer("draft_scales", in: 1...64)
        steps = try json.integer("steps", in: 1...100_000_000, default: steps)
        learningRate = try PruningSettings.ends(json, "learning_rate", 0...1000, learningRate)
        warmup = try json.integer("warmup", in: 0...100_000_000, default: steps / 50)
        weightDecay = try json.number("weight_decay", in: 0...1000, default: weightDecay)
        clip = try json.number("clip", in: 1e-12...1e12, default: clip)
        averageDecay = try json.number("average_decay", in: 0...1, default: averageDecay)
        batch = try json.integer("batch", in: 1...65_536, default: batch)
        seed = try json.seed()
        labelDropout = try json.number("label_dropout", in: 0...1, default: labelDropout)
        if role == .refiner {
            divergenceShare = try json.number("alpha", in: 0...1, default: divergenceShare)
            temperature = try json.number("temperature", in: 1e-3...1000, default: temperature)
        } else {
            for name in ["alpha", "temperature", "teacher"] where json.has(name) {
                throw json.error(name, "a drafter learns from codes alone")
            }
        }
        labelSmoothing = try json.number("label_smoothing", in: 0...1, default: labelSmoothing)
        recomputes = try json.bool("recompute", default: recomputes)
    }

    /// Names that ``init(_:)`` reads.
    public static let names = [
        "role", "draft_scales", "steps", "learning_rate", "warmup", "weight_decay", "clip", "average_decay", "batch",
        "seed", "label_dropout", "alpha", "temperature", "label_smoothing", "recompute",
    ]

    /// Whether there is something to learn from a teacher.
    public var needsTeacher: Bool { role == .refiner && divergenceShare > 0 }

    /// The loss of a step.
    var loss: TokenLoss {
        TokenLoss(
            divergenceShare: role == .refiner ? divergenceShare : 0, temperature: temperature,
            smoothing: labelSmoothing)
    }

    /// The learning rate of `step`.
    func rate(_ step: Int) -> Double {
        Schedule.cosine(learningRate.first, learningRate.last).value(step, of: steps, warmup: warmup)
    }

    /// What a resumed run must have in common with the one it goes on from.
    public var fingerprint: JSON {
        .object([
            "role": .string(role.rawValue), "draft_scales": .integer(draftScales), "steps": .integer(steps),
            "learning_rate": learningRate.json, "warmup": .integer(warmup), "weight_decay": .number(weightDecay),
            "clip": .number(clip), "average_decay": .number(averageDecay), "batch": .integer(batch),
            "seed": .string(String(seed)), "label_dropout": .number(labelDropout), "alpha": .number(divergenceShare),
            "temperature": .number(temperature), "label_smoothing": .number(labelSmoothing),
        ])
    }
}
