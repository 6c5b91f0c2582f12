public import DiffCheckpoint
public import DiffModels
public import DiffTensor

/// Fine-tunes a VAR for its part of collaborative decoding: as the drafter of the coarse scales, or as the refiner of the fine ones.
///
/// Small and large scales compete for the same weights; a network that serves one part only is better at it. The training loop of the
/// paper is not released: inputs, losses and roles are the paper's, the optimiser's settings those of VAR's training.
/// Source: Chen et al., CoDe (arXiv 2411.17787); Tian et al., VAR (arXiv 2404.02905), `trainer.py`.
public final class SpecialisationLearning: LearningProcedure {
    /// The name in settings and states.
    public static let method = "specialise"

    /// How it trains.
    public let settings: SpecialisationSettings

    private let passes: SpecialisationStep
    private let nullClass: Int
    private let run, teacherRun: Run
    private let batches: TokenBatches
    private let updates: WeightUpdates

    /// A run of training of `student`, loaded for learning with `parameters`, on `data` of the codebook in `encoder`. `teacher` is needed
    /// when ``SpecialisationSettings/needsTeacher``. Throws `invalidArgument`, `incompatible` when the parts do not fit each other,
    /// memory errors.
    public init(
        _ student: VAR, _ parameters: Parameters, teacher: VAR?, _ encoder: ScaleEncoder, data: TokenSet,
        _ settings: SpecialisationSettings, _ resources: LearningResources
    ) throws(DiffError) {
        self.settings = settings
        nullClass = student.configuration.nullClass
        updates = try WeightUpdates(parameters, settings.training, resources, beta2: 0.95, decays: Self.decays)
        passes = try SpecialisationStep(
            student, parameters, teacher: teacher, encoder.codes, settings, budget: resources.budget,
            isVirtual: resources.isVirtual)
        batches = try TokenBatches(
            data, encoder, size: settings.training.batch, seed: settings.training.seed, resources)
        run = try resources.run(AccelerationStack(), student.layout, rows: settings.training.batch)
        // What the teacher needed for a moment, the student can use after it.
        teacherRun = run.withoutAcceleration()
    }

    /// Whether weight decay acts on a parameter: not on tables of positions and levels, vectors, biases, modulations of a block's own
    /// and the scales of heads, as in VAR's training.
    public static func decays(_ name: String, _ shape: Shape) -> Bool {
        let tables = ["pos_1LC", "pos_start", "lvl_embed", "ada_gss", "scale_mul"]
        return shape.rank > 1 && !name.hasSuffix("bias") && !tables.each.contains { name.holds($0) }
    }

    /// Steps of a whole run.
    public var steps: Int { settings.training.steps }
    /// Steps made.
    public var done: Int { updates.done }
    /// Weights, moments and averages.
    public var optimiser: Optimiser { updates.optimiser }
    /// Bytes of both workspaces at their peaks.
    public var workspaceBytes: Int { Checked.sum(run.workspace.peakBytes, batches.workspaceBytes) }
    /// Nothing is held beside them.
    public var heldBytes: Int { 0 }

    /// One step.
    public func step() throws(DiffError) -> LearningReport {
        var draws = StepDraws(seed: settings.training.seed, step: done)
        let (codes, clean) = try batches.batch(done)
        let labels = draws.dropping(clean, settings.training.labelDropout, null: nullClass)
        let terms = try passes(codes, labels: labels, run, teacher: teacherRun)
        return try updates.make(
            passes.gradients, loss: terms.loss,
            terms: terms.figures.map { LearningReport.Term(name: $0.name, value: $0.value) }, run)
    }

    /// What was learned is in the weights.
    public var summary: [String: JSON] {
        var summary = updates.summary
        summary.put(.string(settings.role.rawValue), for: "role")
        summary.put(.integer(settings.draftScales), for: "draft_scales")
        return summary
    }

    /// `loss`: with true labels and the weights as they are now; its terms `ce` and, of a refiner, `kl`.
    public func evaluate(_ count: Int) throws(DiffError) -> [String: JSON] {
        var sums: [String: Double] = [:]
        for index in Indices(below: count) {
            let (codes, labels) = try batches.batch(Evaluation.firstStep &+ index)
            let terms = try passes.evaluate(codes, labels: labels, run, teacher: teacherRun)
            for figure in terms.figures.each { sums.put((sums[figure.name] ?? 0) + figure.value, for: figure.name) }
            sums.put((sums["loss"] ?? 0) + terms.loss, for: "loss")
        }
        return sums.withValues { .number($0 / Double(max(1, count))) }
    }

    /// Everything the next steps depend on.
    public func save() -> LearningState { updates.save(Self.method, settings.fingerprint) }

    /// Resumes from a saved state.
    public func restore(_ state: LearningState) throws(DiffError) {
        try updates.restore(state, Self.method, settings.fingerprint)
    }
}

extension TokenLoss.Terms {
    /// The terms under their names in logs.
    fileprivate var figures: [(name: String, value: Double)] {
        let entropy = (name: "ce", value: entropy)
        return divergence.map { [(name: "kl", value: $0), entropy] } ?? [entropy]
    }
}
