import DiffAcceleration
public import DiffCheckpoint
public import DiffModels
public import DiffSampling
public import DiffTensor

/// Learns which blocks of a denoiser to keep: TinyFusion's gates, with the weights following by low-rank updates.
///
/// A step samples a candidate for every group and sample, computes the ordinary diffusion loss of those sub-networks, and moves gates
/// and updates together. What was learned is the decision alone: a pruned checkpoint has the original weights.
/// Source: TinyFusion (arXiv 2412.01199), `prune_by_learning.py`.
public final class PruningLearning: LearningProcedure {
    /// The name in settings and states.
    public static let method = "prune"

    /// How it learns.
    public let settings: PruningSettings
    /// Steps made.
    public private(set) var done = 0
    /// The gates now, and their moving average, which decides.
    public private(set) var gates: GateLogits, average: GateLogits

    /// Candidates times samples of a step; the draws are not charged to the budget.
    private static let maxDraws = 1 << 24

    private let network: any TrainableDenoiser
    private let passes: PruningStep
    private let optimiser: Optimiser
    private let run: Run
    private let batches: BatchSource
    private let resources: LearningResources
    private var states: [RowAdamW]
    private var lossGuard = LossGuard()

    /// A run of learning on `network`, loaded with ``PruningSettings/learns(_:)`` and ``PruningSettings/lora``, whose tensors are
    /// `parameters`. Throws `invalidArgument` when the groups do not cover the network, `shape`, memory errors.
    public init(
        _ network: any TrainableDenoiser, _ parameters: Parameters, _ process: DiffusionProcess, data: LatentSet,
        _ settings: PruningSettings, _ resources: LearningResources
    ) throws(DiffError) {
        (self.network, self.settings, self.resources) = (network, settings, resources)
        let pairs = settings.groups.map { (kept: $0.kept, blocks: $0.blocks) }
        gates = GateLogits(try GateGroup.groups(pairs, depth: network.layout.blockCount))
        average = gates
        let candidates = gates.logits.each.reduce(0) { Checked.sum($0, $1.count) }
        guard let draws = Checked.multiply(candidates, settings.batch), draws <= Self.maxDraws else {
            throw DiffError(
                .invalidArgument,
                "a batch of \(settings.batch) with \(candidates) candidates needs more than \(Self.maxDraws) draws a step"
            )
        }
        states = gates.logits.map { RowAdamW(count: $0.count) }
        try data.check(Shape(network.channels, network.side, network.side))
        batches = try BatchSource(data, size: settings.batch, seed: settings.seed, budget: resources.budget)
        optimiser = try Optimiser(
            parameters, Optimiser.Settings(clip: settings.clip, averageDecay: settings.averageDecay),
            budget: resources.budget, isVirtual: resources.isVirtual, averages: { _ in false })
        passes = try PruningStep(
            network, parameters, DiffusionLoss(process), batch: settings.batch, budget: resources.budget,
            recomputes: settings.recomputes, isVirtual: resources.isVirtual)
        run = try resources.run(passes.stack(), network.layout, rows: settings.batch)
    }

    /// Steps of a whole run.
    public var steps: Int { settings.steps }
    /// Bytes of the workspace at its peak.
    public var workspaceBytes: Int { run.workspace.peakBytes }
    /// Bytes of stored data.
    public var heldBytes: Int { batches.heldBytes }

    /// One step.
    public func step() throws(DiffError) -> LearningReport {
        let temperature = settings.temperature.schedule.value(done, of: steps)
        let scaling = settings.scaling.schedule.value(done, of: steps)
        var draws = StepDraws(seed: settings.seed, step: done)
        let (x0, clean) = try batches.batch(done, run)
        let labels = draws.dropping(clean, settings.labelDropout, null: network.nullClass)
        let t = draws.indices(settings.batch, below: passes.loss.schedule.count)
        let noise = try draws.normal(x0.shape, run)
        let gumbel = draws.gumbel(gates, samples: settings.batch)
        let sample = gates.sample(temperature: temperature, scaling: scaling, noise: gumbel)
        let outcome = try passes(x0: x0, labels: labels, t: t, noise: noise, masks: sample.masks, run)
        let gradients = gates.gradient(of: sample, masks: outcome.masks)
        let squares = gradients.reduce(0.0) { $1.reduce($0) { $0 + Double($1) * Double($1) } }
        let norm = try optimiser.norm(passes.gradients, others: squares, run)
        let admitted = try lossGuard.admits(outcome.terms.mean, gradientNorm: norm)
        let scale = try optimiser.step(
            passes.gradients, learningRate: settings.weightRate, norm: norm, skips: !admitted, run)
        if admitted { move(gradients, scale) }
        done &+= 1
        let count = Double(max(1, settings.batch))
        return LearningReport(
            step: done, steps: steps, loss: outcome.terms.mean, gradientNorm: norm, learningRate: settings.weightRate,
            confidences: average.confidence(scaling: scaling),
            terms: [
                .init(name: "mse", value: outcome.terms.mse.reduce(0, +) / count),
                .init(name: "vb", value: outcome.terms.vb.reduce(0, +) / count),
                .init(name: "temperature", value: temperature), .init(name: "scaling", value: scaling),
            ])
    }

    private func move(_ gradients: [[Float]], _ scale: Float) {
        var (rows, averages) = (gates.logits, average.logits)
        for (group, gradient) in gradients.numbered {
            guard var row = rows.at(group), var state = states.at(group), let mean = averages.at(group) else {
                continue
            }
            state.step(&row, gradient: gradient, learningRate: settings.gateRate, scale: scale)
            let decay = settings.averageDecay
            averages.put(
                zip(mean.each, row.each).map { Float(decay) * $0 + Float(1 - decay) * $1 }, at: group)
            rows.put(row, at: group)
            states.put(state, at: group)
        }
        (gates.logits, average.logits) = (rows, averages)
    }

    /// The blocks to keep, by the averaged gates.
    public var decision: [Int] { average.decision }

    /// What was learned.
    public var summary: [String: JSON] {
        let scaling = settings.scaling.schedule.value(max(0, done &- 1), of: steps)
        return [
            "keep": .array(decision.map { .integer($0) }),
            "confidences": .array(average.confidence(scaling: scaling).map { .number(Double($0)) }),
            "probabilities": .array(
                average.probabilities(scaling: scaling).each.map { row in .array(row.each.map { .number(Double($0)) }) }
            ),
        ]
    }

    /// `loss`: of the network with the decided blocks only, low-rank updates included; `loss_all_blocks`: with all of them.
    public func evaluate(_ count: Int) throws(DiffError) -> [String: JSON] {
        let evaluation = Evaluation(
            network: network, loss: passes.loss, batches: batches, seed: settings.seed, resources: resources)
        let decided = try evaluation.mean(count, AccelerationStack([try DepthPruning(keep: decision)]))
        return ["loss": .number(decided), "loss_all_blocks": .number(try evaluation.mean(count))]
    }

    /// Everything the next steps depend on.
    public func save() throws(DiffError) -> LearningState {
        var state = LearningState(method: Self.method, step: done, settings: settings.fingerprint)
        try state.put(gates.logits, as: "gates")
        try state.put(average.logits, as: "gates.average")
        try RowAdamW.save(states, as: "gates.moments", in: &state)
        optimiser.save(in: &state)
        return state
    }

    /// Resumes from a saved state.
    public func restore(_ state: LearningState) throws(DiffError) {
        try state.check(Self.method, settings.fingerprint, steps: steps)
        let widths = gates.logits.map(\.count)
        let now = try GateLogits(gates.groups, logits: state.rows("gates", widths))
        let mean = try GateLogits(gates.groups, logits: state.rows("gates.average", widths))
        let moments = try RowAdamW.restore("gates.moments", widths, from: state)
        try optimiser.restore(state)
        (gates, average, states, done) = (now, mean, moments, state.step)
    }
}
