public import DiffAcceleration
public import DiffCheckpoint
public import DiffModels
import DiffSampling
public import DiffTensor

/// Learns a Learning-to-Cache router for a frozen denoiser.
///
/// As published, an iteration draws one cached step for the whole batch, noises samples to the full step before it, and compares the
/// network that blends fresh and kept outputs with the plain one. Beyond the paper: the model's own trajectory
/// (``RouterSettings/Trajectory/own``), and several cached steps after a full one (``RouterSettings/period``).
/// Source: Learning-to-Cache (arXiv 2406.01733), `train_router.py`.
public final class RouterLearning: LearningProcedure {
    /// The name in settings and states.
    public static let method = "router"

    /// How it learns.
    public let settings: RouterSettings
    /// Iterations made.
    public private(set) var done = 0
    /// The logits so far, with the optimiser's state.
    public private(set) var logits: RouterLogits

    private let network: any Denoiser
    private let passes: RouterStep
    private let run: Run
    private let batches: BatchSource?
    private var walk: OwnTrajectory?
    private var lossGuard = LossGuard()

    /// A run of learning on `network`, all of whose ops have a way back and which must have been loaded for learning, for the sampling that `process` says. `data` may be missing
    /// with the own trajectory: labels are then drawn. Throws `invalidArgument`, `shape` when the data do not fit, memory errors.
    public init(
        _ network: any Denoiser, _ process: RouterProcess, data: LatentSet?, _ settings: RouterSettings,
        _ resources: LearningResources
    ) throws(DiffError) {
        (self.network, self.settings) = (network, settings)
        let sublayers = network.sublayers.count
        var generator = TorchRandom(seed: settings.seed)
        logits = RouterLogits(steps: process.rows, sublayers: sublayers, &generator)
        passes = try RouterStep(
            network, settings.trajectory == .own ? process.inUse() : process, budget: resources.budget,
            recomputes: settings.recomputes,
            isVirtual: resources.isVirtual)
        let sample = try Shape(network.channels, network.side, network.side)
        if let data {
            try data.check(sample)
            batches = try BatchSource(data, size: settings.batch, seed: settings.seed, budget: resources.budget)
        } else {
            guard settings.trajectory == .own else {
                throw DiffError(.invalidArgument, "a router learned on data needs data")
            }
            batches = nil
        }
        var rows = settings.batch
        if settings.trajectory == .own {
            let walk = try OwnTrajectory(network, process, settings, sample, resources)
            rows = walk.networkRows
            self.walk = walk
        }
        run = try resources.run(passes.stack, network.layout, rows: rows)
    }

    /// Iterations of a whole run.
    public var steps: Int { settings.steps }
    /// Bytes of the workspace at its peak.
    public var workspaceBytes: Int { run.workspace.peakBytes }
    /// Bytes of scores, of stored data and of the trajectory.
    public var heldBytes: Int { Checked.sum(passes.heldBytes, batches?.heldBytes ?? 0, walk?.heldBytes ?? 0) }

    /// One iteration.
    public func step() throws(DiffError) -> LearningReport {
        let report = settings.trajectory == .own ? try walkOn() : try trainOnData()
        done &+= 1
        return report
    }

    private var groups: [CachedGroup] { passes.process.groups }

    // MARK: On data

    private func trainOnData() throws(DiffError) -> LearningReport {
        guard let batches else { throw DiffError(.internal, "no data") }
        var draws = StepDraws(seed: settings.seed, step: done)
        let pick = draws.index(below: groups.reduce(0) { $0 &+ $1.cached.count })
        let (group, position) = locate(pick)
        let (x0, clean) = try batches.batch(done, run)
        let labels = draws.dropping(clean, settings.labelDropout, null: network.nullClass)
        let noise = try draws.normal(x0.shape, run)
        var sampler = passes.process.sampler(at: group.start)
        var x = try lead(x0, noise, labels, to: group, &sampler)
        for (before, cached) in group.cached.numbered where before < position {
            let output = try passes.cached(x, labels: labels, call: cached.call, computes: computes(cached.row), run)
            x = try sampler.advance(x, output, run)
        }
        guard let cached = group.cached.at(position) else { throw DiffError(.internal, "no cached call") }
        return try learn(cached, x, labels)
    }

    /// The state before the first cached call of `group`, from data noised to its start through full passes, of which the last
    /// one's outputs stay.
    private func lead(
        _ x0: Tensor, _ noise: Tensor, _ labels: [Int], to group: CachedGroup, _ sampler: inout any Sampler
    ) throws(DiffError) -> Tensor {
        var x = try passes.process.noised(x0, noise, call: group.start, run)
        for call in Indices(below: group.full &+ 1) where call >= group.start {
            x = try sampler.advance(x, passes.full(x, labels: labels, call: call, run), run)
        }
        return x
    }

    /// The group that the cached call number `pick` belongs to, counted over all groups, and its position there.
    private func locate(_ pick: Int) -> (CachedGroup, Int) {
        var rest = pick
        for group in groups.each {
            if rest < group.cached.count { return (group, rest) }
            rest &-= group.cached.count
        }
        return (CachedGroup(start: 0, full: 0, cached: []), 0)
    }

    private func computes(_ row: Int) -> [Bool] { logits.scores(row: row).map { $0 > Float(settings.threshold) } }

    /// Teacher and student at `x` and the step of the row that follows.
    private func learn(_ cached: CachedCall, _ x: Tensor, _ labels: [Int]) throws(DiffError) -> LearningReport {
        let row = cached.row
        let scores = logits.scores(row: row)
        let weights = settings.straightThrough.map { limit in scores.map { $0 > Float(limit) ? 1 : 0 } } ?? scores
        let outcome = try passes.compare(x, labels: labels, call: cached.call, scores: weights, run)
        let l1Penalty = settings.l1 * scores.reduce(0) { $0 + Double($1) }
        let loss = outcome.error + l1Penalty
        var norm = 0.0
        let size = outcome.gradient.reduce(0.0) { $0 + Double($1) * Double($1) }
        if try lossGuard.admits(loss, gradientNorm: size) {
            let gradient = logits.step(
                row: row, gradient: outcome.gradient, l1: settings.l1, learningRate: settings.learningRate,
                clamp: settings.clamp.map { Float($0) })
            norm = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        }
        return LearningReport(
            step: done &+ 1, steps: steps, loss: loss, gradientNorm: norm, learningRate: settings.learningRate,
            confidences: logits.scores(row: row),
            terms: [
                .init(name: "error", value: outcome.error), .init(name: "l1_penalty", value: l1Penalty),
                .init(name: "row", value: Double(row)), .init(name: "removed", value: removed),
            ])
    }

    // MARK: On the own trajectory

    /// One group of steps: the full one, then a training step at each cached one before it is made as at inference.
    private func walkOn() throws(DiffError) -> LearningReport {
        guard let walk else { throw DiffError(.internal, "no trajectory") }
        let before = (logits, lossGuard)
        do throws(DiffError) {
            return try walk.step(groups, iteration: done, labels: batches, passes, run) {
                (cached, x, labels) throws(DiffError) in
                let report = try self.learn(cached, x, labels)
                return (report, self.computes(cached.row))
            }
        } catch {
            // Some rows of the group may have been stepped already.
            (logits, lossGuard) = before
            throw error
        }
    }

    // MARK: Results

    /// The rows that decide about a call, ascending.
    public var cachedRows: [Int] {
        var rows: [Int] = []
        for group in groups.each {
            for cached in group.cached.each { rows.append(cached.row) }
        }
        return rows.sorted()
    }

    /// How many sub-layers are computed by these decisions.
    private static func count(_ computes: [Bool]) -> Int { computes.each.reduce(0) { $1 ? $0 &+ 1 : $0 } }

    /// Share of the sub-layers of cached steps whose score is not above the threshold.
    public var removed: Double {
        var (all, reused) = (0, 0)
        for row in cachedRows.each {
            let computes = computes(row)
            all &+= computes.count
            reused &+= computes.count &- Self.count(computes)
        }
        return Double(reused) / Double(max(1, all))
    }

    /// The router for inference.
    public func router() throws(DiffError) -> Router {
        try logits.router(threshold: settings.threshold, period: settings.period)
    }

    /// What was learned.
    public var summary: [String: JSON] {
        [
            "removed": .number(removed), "threshold": .number(settings.threshold),
            "sampling_steps": .integer(settings.samplingSteps), "period": .integer(settings.period),
            "rows": .array(
                cachedRows.each.map { row in
                    .object([
                        "row": .integer(row), "kept": .integer(Self.count(computes(row))),
                        "scores": .array(logits.scores(row: row).map { .number(Double($0)) }),
                    ])
                }),
        ]
    }

    /// `error`: mean squared difference from the plain network at cached steps that follow a full one of noised data, with the
    /// decisions of inference; `removed`: share of the sub-layers of cached steps that are reused.
    public func evaluate(_ count: Int) throws(DiffError) -> [String: JSON] {
        guard let batches else { throw DiffError(.unsupported, "an evaluation needs data") }
        var error = 0.0
        for index in Indices(below: count) {
            let step = Evaluation.firstStep &+ index
            var draws = StepDraws(seed: settings.seed, step: step, purpose: 9)
            guard let group = groups.at(draws.index(below: groups.count)) else { continue }
            let (x0, labels) = try batches.batch(step, run)
            var sampler = passes.process.sampler(at: group.start)
            var x = try lead(x0, draws.normal(x0.shape, run), labels, to: group, &sampler)
            for cached in group.cached.each {
                let plain = try passes.plain(x, labels: labels, call: cached.call, run)
                let output = try passes.cached(
                    x, labels: labels, call: cached.call, computes: computes(cached.row), run)
                let each = output.shape.count / max(1, output.shape[0])
                error +=
                    try run.squaredError(output, plain, divisor: each, weight: 0).errors.reduce(0, +)
                    / Double(max(1, labels.count &* group.cached.count))
                x = try sampler.advance(x, output, run)
            }
        }
        return ["error": .number(error / Double(max(1, count))), "removed": .number(removed)]
    }

    /// Everything the next iterations depend on.
    public func save() throws(DiffError) -> LearningState {
        var state = LearningState(method: Self.method, step: done, settings: settings.fingerprint)
        try state.put(logits.rows, as: "logits")
        try RowAdamW.save(logits.states, as: "moments", in: &state)
        walk?.save(in: &state)
        return state
    }

    /// Resumes from a saved state.
    public func restore(_ state: LearningState) throws(DiffError) {
        try state.check(Self.method, settings.fingerprint, steps: steps)
        let widths = logits.rows.map(\.count)
        let restored = try RouterLogits(
            rows: state.rows("logits", widths), states: RowAdamW.restore("moments", widths, from: state))
        try walk?.restore(state, groups: groups.count)
        (logits, done) = (restored, state.step)
    }
}

extension LatentSet {
    /// Throws `shape` unless samples are of `shape` [C, h, w].
    func check(_ shape: Shape) throws(DiffError) {
        guard sample == shape else {
            throw DiffError(.shape, "the data's samples are \(sample), the model's states \(shape)")
        }
    }
}
