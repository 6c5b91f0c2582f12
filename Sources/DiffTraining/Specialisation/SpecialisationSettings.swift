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

    /// What settings may say.
    public static var options: [OptionSpec] {
        training.options(warmup: "a fiftieth of the steps") + [
            OptionSpec(
                "role", .cases(of: Role.self), "What the network will do: draw the first scales, or the others."),
            OptionSpec("draft_scales", .integer(1...64), "Scales that the drafter draws."),
            OptionSpec(
                "alpha", .number(0...1), default: .number(1),
                "Of a refiner: share of the divergence from the teacher, cross-entropy is the rest."),
            OptionSpec(
                "temperature", .number(1e-3...1000), default: .number(1),
                "Of a refiner: temperature of both distributions."),
            OptionSpec(
                "label_smoothing", .number(0...1), default: .number(0),
                "Share of a code's weight in the cross-entropy that is spread over all codes."),
        ]
    }

    /// Reads what was checked against ``options``. Throws `format`.
    public init(_ options: Options) throws(DiffError) {
        role = try options.getCase("role")
        draftScales = try options.get("draft_scales")
        training = try training.reading(options)
        if !options.has("warmup") { training.warmup = training.steps / 50 }
        if role == .refiner {
            divergenceShare = try options.get("alpha")
            temperature = try options.get("temperature")
        } else {
            for name in ["alpha", "temperature", "teacher"] where options.has(name) {
                throw options.error(name, "a drafter learns from codes alone")
            }
        }
        labelSmoothing = try options.get("label_smoothing")
    }

    /// Whether there is something to learn from a teacher.
    public var needsTeacher: Bool { role == .refiner && divergenceShare > 0 }

    /// The loss of a step.
    var loss: TokenLoss {
        TokenLoss(
            divergenceShare: role == .refiner ? divergenceShare : 0, temperature: temperature,
            smoothing: labelSmoothing)
    }

    /// What a resumed run must have in common with the one it resumes.
    public var fingerprint: JSON {
        training.fingerprint(and: [
            "role": .string(role.rawValue), "draft_scales": .integer(draftScales), "alpha": .number(divergenceShare),
            "temperature": .number(temperature), "label_smoothing": .number(labelSmoothing),
        ])
    }
}
