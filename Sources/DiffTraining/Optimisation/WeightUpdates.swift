import DiffCheckpoint
import DiffTensor

/// The steps of a training of all weights: AdamW on the gradients that a pass left, guarded against losses that are not numbers, counted,
/// saved and resumed. Used by one thread at a time.
final class WeightUpdates {
    /// Weights, moments and averages.
    let optimiser: Optimiser
    /// Steps made.
    private(set) var done = 0
    private let training: WeightTraining
    private var lossGuard = LossGuard()

    /// Updates of the trained ones of `parameters`; weight decay acts where `decays` says so. Throws memory errors.
    init(
        _ parameters: Parameters, _ training: WeightTraining, _ resources: LearningResources, beta2: Double = 0.999,
        decays: (String, Shape) -> Bool = { _, _ in true }
    ) throws(DiffError) {
        self.training = training
        var rules = Optimiser.Settings(clip: training.clip, averageDecay: training.averageDecay)
        (rules.beta2, rules.weightDecay) = (beta2, training.weightDecay)
        optimiser = try Optimiser(
            parameters, rules, budget: resources.budget, isVirtual: resources.isVirtual, averages: { _ in true },
            decays: decays)
    }

    /// One update by `gradients` of a loss of that value, and what is reported of it. Throws `notFinite` after a long row of losses
    /// that are not numbers.
    func make(
        _ gradients: ParameterGradients, loss: Double, terms: [LearningReport.Term], _ run: Run
    ) throws(DiffError) -> LearningReport {
        let rate = training.rate(done)
        let norm = try optimiser.norm(gradients, run)
        let admitted = try lossGuard.admits(loss, gradientNorm: norm)
        _ = try optimiser.step(gradients, learningRate: rate, norm: norm, skips: !admitted, run)
        done &+= 1
        return LearningReport(
            step: done, steps: training.steps, loss: loss, gradientNorm: norm, learningRate: rate, terms: terms)
    }

    /// The learning rate of the last step, and how many numbers learn.
    var summary: [String: JSON] {
        ["learning_rate": .number(training.rate(max(0, done &- 1))), "parameters": .integer(optimiser.count)]
    }

    /// Everything the next steps of `method` depend on.
    func save(_ method: String, _ settings: JSON) -> LearningState {
        var state = LearningState(method: method, step: done, settings: settings)
        optimiser.save(in: &state)
        return state
    }

    /// Resumes from a saved state. Throws `incompatible`, `format` when it is not one of `method` with these settings.
    func restore(_ state: LearningState, _ method: String, _ settings: JSON) throws(DiffError) {
        try state.check(method, settings, steps: training.steps)
        try optimiser.restore(state)
        done = state.step
    }
}
