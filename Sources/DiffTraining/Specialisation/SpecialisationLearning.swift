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
    /// Steps made.
    public private(set) var done = 0
    /// Weights, moments and averages.
    public let optimiser: Optimiser

    private let passes: SpecialisationStep
    private let nullClass: Int
    private let run, teacherRun: Run
    private let batches: TokenBatches
    private var guardian = LossGuard()

    /// A run of training of `student`, loaded for learning with `parameters`, on `data` of the codebook in `encoder`. `teacher` is needed
    /// when ``SpecialisationSettings/needsTeacher``. Throws `invalidArgument`, `incompatible` when the parts do not fit each other,
    /// memory errors.
    public init(
        _ student: VAR, _ parameters: Parameters, teacher: VAR?, _ encoder: ScaleEncoder, data: TokenSet,
        _ settings: SpecialisationSettings, _ resources: LearningResources
    ) throws(DiffError) {
        self.settings = settings
        nullClass = student.configuration.nullClass
        var rules = Optimiser.Settings(clip: settings.clip, averageDecay: settings.averageDecay)
        (rules.beta2, rules.weightDecay) = (0.95, settings.weightDecay)
        optimiser = try Optimiser(
            parameters, rules, budget: resources.budget, isVirtual: resources.isVirtual, averages: { _ in true },
            decays: Self.decays)
        passes = try SpecialisationStep(
            student, parameters, teacher: teacher, encoder.codes, settings, budget: resources.budget,
            isVirtual: resources.isVirtual)
        batches = try TokenBatches(data, encoder, size: settings.batch, seed: settings.seed, resources)
        run = try resources.run(AccelerationStack(), student.layout, rows: settings.batch)
        // What the teacher needed for a moment, the student can use after it.
        teacherRun = run.aside()
    }

    /// Whether weight decay acts on a parameter: not on tables of positions and levels, vectors, biases, modulations of a block's own
    /// and the scales of heads, as in VAR's training.
    public static func decays(_ name: String, _ shape: Shape) -> Bool {
        let tables = ["pos_1LC", "pos_start", "lvl_embed", "ada_gss", "scale_mul"]
        return shape.rank > 1 && !name.hasSuffix("bias") && !tables.each.contains { name.holds($0) }
    }

    /// Steps of a whole run.
    public var steps: Int { settings.steps }
    /// Bytes of both workspaces at their peaks.
    public var workspaceBytes: Int { Checked.sum(run.workspace.peakBytes, batches.workspaceBytes) }
    /// Nothing is held beside them.
    public var heldBytes: Int { 0 }

    /// One step.
    public func step() throws(DiffError) -> LearningReport {
        var draws = StepDraws(seed: settings.seed, step: done)
        let (codes, clean) = try batches.batch(done)
        let labels = draws.dropping(clean, settings.labelDropout, null: nullClass)
        let terms = try passes(codes, labels: labels, run, teacher: teacherRun)
        let rate = settings.rate(done)
        let norm = try optimiser.norm(passes.gradients, run)
        let admitted = try guardian.admits(terms.loss, gradientNorm: norm)
        _ = try optimiser.step(passes.gradients, learningRate: rate, norm: norm, skips: !admitted, run)
        done &+= 1
        return LearningReport(
            step: done, steps: steps, loss: terms.loss, gradientNorm: norm, learningRate: rate,
            terms: terms.figures.map { LearningReport.Term(name: $0.name, value: $0.value) })
    }

    /// What was learned is in the weights.
    public var summary: [String: JSON] {
        [
            "role": .string(settings.role.rawValue), "draft_scales": .integer(settings.draftScales),
            "learning_rate": .number(settings.rate(max(0, done &- 1))), "parameters": .integer(optimiser.count),
        ]
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
    public func save() throws(DiffError) -> LearningState {
        var state = LearningState(method: Self.method, step: done, settings: settings.fingerprint)
        optimiser.save(in: &state)
        return state
    }

    /// Goes on from a saved state.
    public func restore(_ state: LearningState) throws(DiffError) {
        try state.check(Self.method, settings.fingerprint, steps: steps)
        try optimiser.restore(state)
        done = state.step
    }
}

extension TokenLoss.Terms {
    /// The terms under their names in logs.
    fileprivate var figures: [(name: String, value: Double)] {
        let entropy = (name: "ce", value: entropy)
        return divergence.map { [(name: "kl", value: $0), entropy] } ?? [entropy]
    }
}
