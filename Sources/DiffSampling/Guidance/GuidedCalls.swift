public import DiffTensor

/// Which rows a network call is about.
public enum GuidanceRows: Sendable, Equatable {
    /// n conditional rows.
    case conditional
    /// n unconditional rows.
    case unconditional
    /// n conditional rows, followed by as many unconditional ones.
    case both
    /// These of ``both``.
    case some(first: Int, count: Int)

    /// The class of each row of the call for samples of `labels`, where `null` stands for "no class".
    public func labels(_ labels: [Int], null: Int) -> [Int] {
        switch self {
        case .conditional: return labels
        case .unconditional: return labels.map { _ in null }
        case .both: return labels + labels.map { _ in null }
        case .some(let first, let count):
            return Indices(below: count).map { labels.at(first &+ $0) ?? null }
        }
    }

    /// The rows of `samples` conditional ones, followed by as many unconditional ones, that these are.
    public func range(_ samples: Int) -> (first: Int, count: Int) {
        switch self {
        case .conditional: (0, samples)
        case .unconditional: (samples, samples)
        case .both: (0, 2 &* samples)
        case .some(let first, let count): (first, count)
        }
    }
}

/// The network's prediction for the rows of a call: `x` [rows, C, h, w], already scaled, to [rows, C or 2C, h, w].
public typealias GuidedDenoise =
    @Sendable (_ x: Tensor, _ rows: GuidanceRows, _ call: Call, _ run: Run) throws(DiffError) -> Tensor

/// Guidance at work in one run: makes of each evaluation that a sampler asks for the network calls that it takes, and of their outputs one
/// prediction. Used by the run's thread.
struct GuidedCalls {
    private let guidance: Guidance?
    private let steps: Int
    /// Whether the state has an unconditional half: an adaptive solver measures its error over all of it as the official code does, so its
    /// steps depend on it. Both halves are then always evaluated.
    let carriesBothHalves: Bool
    /// One for each lane, where they run side by side.
    private let forks: RunForks?

    /// The calls of a run that has begun, of `steps` steps. Throws `unsupported` where an adaptive solver would have to know which part of the
    /// run it is in, and memory errors.
    init(_ guidance: Guidance?, steps: Int, calls: CallCount, _ run: Run) throws(DiffError) {
        (self.guidance, self.steps) = (guidance, steps)
        let isAdaptive = if case .atMost = calls { true } else { false }
        carriesBothHalves = isAdaptive && guidance != nil
        guard !isAdaptive || guidance.map({ $0.interval == .always && !$0.ramp.isOverSteps }) ?? true
        else {
            throw DiffError(
                .unsupported,
                "guidance_interval and ramps over steps need a sampler whose steps are known before the run, such as euler"
            )
        }
        guard guidance?.execution != .ranks || !isAdaptive else {
            throw DiffError(
                .unsupported,
                "guidance_execution \"ranks\" needs a sampler whose steps are known before the run, such as euler")
        }
        forks = guidance?.execution == .split ? try run.fork(2) : nil
    }

    /// The prediction for `x` at `call`: of n samples, or of both halves where the state carries them.
    func evaluate(
        _ x: Tensor, _ call: Call, _ run: Run, _ denoise: @escaping GuidedDenoise
    ) throws(DiffError) -> Tensor {
        guard let guidance else { return try conditional(x, call, run, denoise) }
        // Both halves start from the same state.
        let samples = carriesBothHalves ? try x.rows(0, x.shape[0] / 2) : x
        let isGuided = guidance.scale(at: call.step, of: steps) != nil
        guard isGuided || carriesBothHalves || run.mayKeepOutputs else {
            return try conditional(samples, call, run, denoise)
        }
        let (c, u) = try predictions(samples, call, guidance.execution, run, denoise)
        let guided = try guidance.combined(
            c, u, step: call.step, of: steps, elements: samples.shape.count / max(1, samples.shape[0]), run)
        guard carriesBothHalves else { return guided }
        return try guidance.bothHalves(guided, u, step: call.step, of: steps, run)
    }

    private func conditional(
        _ x: Tensor, _ call: Call, _ run: Run, _ denoise: @escaping GuidedDenoise
    ) throws(DiffError) -> Tensor {
        if let ranks = run.ranks, ranks.splits(x.shape[0]) { return try shared(x, call, ranks, run, denoise) }
        return try run.evaluate(call) { (call, run) throws(DiffError) in try denoise(x, .conditional, call, run) }
    }

    /// The conditional and the unconditional prediction for `x`.
    private func predictions(
        _ x: Tensor, _ call: Call, _ execution: Guidance.Execution, _ run: Run, _ denoise: @escaping GuidedDenoise
    ) throws(DiffError) -> (c: Tensor, u: Tensor) {
        let lane: Evaluate = { (call, run) throws(DiffError) in
            try denoise(x, call.lane == 0 ? .conditional : .unconditional, call, run)
        }
        switch execution {
        case .batched, .ranks:
            let input = try run.doubled(x)
            if let ranks = run.ranks, ranks.splits(input.shape[0]) {
                let both = try shared(input, call, ranks, run, denoise)
                return (try both.rows(0, x.shape[0]), try both.rows(x.shape[0], x.shape[0]))
            }
            let both = try run.evaluate(call) { (call, run) throws(DiffError) in try denoise(input, .both, call, run) }
            let half = x.shape[0]
            return (try both.rows(0, half), try both.rows(half, half))
        case .lanes:
            return (try run.evaluate(call, lane), try run.evaluate(call.inLane(1), lane))
        case .split:
            guard let forks else { throw DiffError(.internal, "lanes without forks") }
            var outputs = try forks.evaluate(call, lane).each
            guard let c = outputs.next(), let u = outputs.next() else {
                throw DiffError(.internal, "a lane without an output")
            }
            return (c, u)
        }
    }

    /// The prediction for the rows `x`, which begin with conditional ones, of which each group of processes evaluates some.
    private func shared(
        _ x: Tensor, _ call: Call, _ ranks: RankShare, _ run: Run, _ denoise: @escaping GuidedDenoise
    ) throws(DiffError) -> Tensor {
        let (first, count) = ranks.part(of: x.shape[0])
        let rows = try x.rows(first, count)
        let mine = try run.evaluate(call) { (call, run) throws(DiffError) in
            try denoise(rows, .some(first: first, count: count), call, run)
        }
        return try ranks.joined(mine, rows: x.shape[0], run)
    }
}
