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
    /// Length, optimiser, batches and draws. Weight decay acts on matrices alone; the warm-up is a fiftieth of the steps.
    public var training = Self.training
    /// Of a refiner: α and T of ``TokenLoss``.
    public var divergenceShare = 1.0, temperature = 1.0
    /// Share of a code's weight in the cross-entropy that is spread over all codes.
    public var labelSmoothing = 0.0

    private static var training: WeightTraining {
        var training = WeightTraining(steps: 3000, learningRate: .init(1e-4, 1e-5), batch: 64)
        (training.warmup, training.weightDecay, training.clip, training.averageDecay) = (60, 0.05, 2, 0.999)
        return training
    }

    /// The defaults of a role.
    public init(_ role: Role, draftScales: Int) { (self.role, self.draftScales) = (role, draftScales) }

    /// Reads `json`. Throws `format`.
    public init(_ json: JSONObject) throws(DiffError) {
        let name = try json.string("role", oneOf: Role.allCases.map(\.rawValue))
        role = Role(rawValue: name) ?? .drafter
        draftScales = try json.integer("draft_scales", in: 1...64)
        training = try training.reading(json)
        if !json.has("warmup") { training.warmup = training.steps / 50 }
        if role == .refiner {
            divergenceShare = try json.number("alpha", in: 0...1, default: divergenceShare)
            temperature = try json.number("temperature", in: 1e-3...1000, default: temperature)
        } else {
            for name in ["alpha", "temperature", "teacher"] where json.has(name) {
                throw json.error(name, "a drafter learns from codes alone")
            }
        }
        labelSmoothing = try json.number("label_smoothing", in: 0...1, default: labelSmoothing)
    }

    /// Names that ``init(_:)`` reads.
    public static let names =
        WeightTraining.names + ["role", "draft_scales", "alpha", "temperature", "label_smoothing"]

    /// Whether there is something to learn from a teacher.
    public var needsTeacher: Bool { role == .refiner && divergenceShare > 0 }

    /// The loss of a step.
    var loss: TokenLoss {
        TokenLoss(
            divergenceShare: role == .refiner ? divergenceShare : 0, temperature: temperature,
            smoothing: labelSmoothing)
    }

    /// What a resumed run must have in common with the one it goes on from.
    public var fingerprint: JSON {
        training.fingerprint(and: [
            "role": .string(role.rawValue), "draft_scales": .integer(draftScales), "alpha": .number(divergenceShare),
            "temperature": .number(temperature), "label_smoothing": .number(labelSmoothing),
        ])
    }
}
