public import DiffCheckpoint
public import DiffModels
public import DiffSampling
public import DiffTensor

/// Trains the weights of a denoiser: plainly, or with a teacher's outputs and features.
///
/// Source: TinyFusion (arXiv 2412.01199), `train.py` and `train_masked_kd.py`.
public final class RecoveryLearning: LearningProcedure {
    /// The name in settings and states.
    public static let method = "finetune"

    /// How it trains.
    public let settings: RecoverySettings

    private let student: any TrainableDenoiser
    private let passes: RecoveryStep
    private let run, teacherRun: Run
    private let batches: BatchSource
    private let resources: LearningResources
    private let updates: WeightUpdates

    /// A run of training of `student`, loaded for learning with `parameters`. `teacher` is needed unless there is no distillation. Throws
    /// `invalidArgument`, `incompatible` when teacher and student do not fit, `shape`, memory errors.
    public init(
        _ student: any TrainableDenoiser, _ parameters: Parameters, teacher: (any TrainableDenoiser)?,
        _ process: DiffusionProcess, data: LatentSet,
        _ settings: RecoverySettings, _ resources: LearningResources
    ) throws(DiffError) {
        (self.student, self.settings, self.resources) = (student, settings, resources)
        try data.check(Shape(student.channels, student.side, student.side))
        batches = try BatchSource(
            data, size: settings.training.batch, seed: settings.training.seed, budget: resources.budget)
        if settings.start == .scratch { try DiTStart(seed: settings.training.seed).initialise(parameters, resources) }
        updates = try WeightUpdates(parameters, settings.training, resources)
        let ground = try DiffusionLoss(process)
        let loss = DistillationLoss(
            ground, distillationWeight: settings.distillationWeight, groundWeight: settings.groundWeight)
        passes = try RecoveryStep(
            student, parameters, teacher: teacher, settings.method, loss, budget: resources.budget,
            recomputes: settings.training.recomputes, isVirtual: resources.isVirtual)
        run = try resources.run(passes.stack, student.layout, rows: settings.training.batch)
        teacherRun = try resources.run(passes.teacherStack, (teacher ?? student).layout, rows: settings.training.batch)
    }

    /// Steps of a whole run.
    public var steps: Int { settings.training.steps }
    /// Steps made.
    public var done: Int { updates.done }
    /// Weights, moments and averages.
    public var optimiser: Optimiser { updates.optimiser }
    /// Bytes of both workspaces at their peaks.
    public var workspaceBytes: Int { Checked.sum(run.workspace.peakBytes, teacherRun.workspace.peakBytes) }
    /// Bytes of stored data.
    public var heldBytes: Int { batches.heldBytes }

    /// One step.
    public func step() throws(DiffError) -> LearningReport {
        var draws = StepDraws(seed: settings.training.seed, step: done)
        let (x0, clean) = try batches.batch(done, run)
        let labels = draws.dropping(clean, settings.training.labelDropout, null: student.nullClass)
        let t = draws.indices(settings.training.batch, below: passes.ordinaryLoss.schedule.count)
        let noise = try draws.normal(x0.shape, run)
        let weight = Schedule.linear(settings.featureWeight.first, settings.featureWeight.last).value(done, of: steps)
        // With outputs alone the published code shows the teacher the labels that the student was not shown.
        let outcome = try passes(
            x0: x0, labels: labels, teacherLabels: settings.distillation == .logits ? clean : labels, t: t,
            noise: noise,
            featureWeight: weight, run, teacher: teacherRun)
        return try updates.make(passes.gradients, loss: outcome.loss, terms: terms(outcome), run)
    }

    private func terms(_ outcome: RecoveryStep.Outcome) -> [LearningReport.Term] {
        var terms: [LearningReport.Term] = [
            .init(name: "mse", value: outcome.ground.mse.mean), .init(name: "vb", value: outcome.ground.vb.mean),
        ]
        if let distillation = outcome.distillation { terms.append(.init(name: "kd", value: distillation.kd.mean)) }
        if !outcome.features.isEmpty { terms.append(.init(name: "features", value: outcome.features.mean)) }
        return terms
    }

    /// What was learned is in the weights.
    public var summary: [String: JSON] { updates.summary }

    /// `loss`: the ordinary loss with the weights as they are now.
    public func evaluate(_ count: Int) throws(DiffError) -> [String: JSON] {
        let evaluation = Evaluation(
            network: student, loss: passes.ordinaryLoss, batches: batches, seed: settings.training.seed,
            resources: resources)
        return ["loss": .number(try evaluation.mean(count))]
    }

    /// Everything the next steps depend on.
    public func save() -> LearningState { updates.save(Self.method, settings.fingerprint) }

    /// Resumes from a saved state.
    public func restore(_ state: LearningState) throws(DiffError) {
        try updates.restore(state, Self.method, settings.fingerprint)
    }
}
