public import DiffTensor

/// How one scale is drawn.
public struct ScaleStep: Sendable, Equatable {
    /// Side of the scale's map.
    public let side: Int
    /// Which candidates are drawn from.
    public let truncation: Truncation

    /// A scale of this side.
    public init(side: Int, truncation: Truncation) { (self.side, self.truncation) = (side, truncation) }
}

/// The networks and the codebook of a run, as the sampler asks for them.
public protocol ScaleNetworks: AnyObject {
    /// Logits of `scale` by network `network`: [n, side², vocabulary] of the conditional rows, followed by as many unconditional
    /// ones when `guided`.
    func logits(scale: Int, network: Int, guided: Bool, _ run: Run) throws(DiffError) -> Tensor
    /// Takes these tokens as the map of `scale`. Gives the state of the image [n, channels, S, S].
    func take(_ tokens: [Int], scale: Int, _ run: Run) throws(DiffError) -> Tensor
    /// Takes mixtures of codes, [n, side², vocabulary].
    func take(mixing weights: Tensor, scale: Int, _ run: Run) throws(DiffError) -> Tensor
}

/// What the sampler tells after each scale. Return from the observer to continue, throw to stop.
public struct NextScaleProgress {
    /// Scale just done and how many there are.
    public let scale: Int, scales: Int
    /// Side of its map, and which network made it.
    public let side: Int, network: Int
    /// Logits after guidance [n, side², vocabulary]; how many candidates of each row were left to draw from.
    public let logits: Tensor, kept: [Int]
    /// The tokens drawn, samples one after the other. With mixtures they were drawn and not used.
    public let tokens: [Int]
    /// State after the scale, [n, channels, S, S].
    public let state: Tensor
}

/// Generation from coarse to fine: at each scale all tokens at once, then the image so far grows. It knows nothing of
/// networks or methods.
public struct NextScaleSampler: Sendable {
    /// All scales in order.
    public let steps: [ScaleStep]
    /// Guidance at the last scale; it grows from 0 at the first: (1 + t) conditional - t unconditional.
    public var guidance: Double { guided.scale }
    /// The same as a value. Both predictions share a batch: a network's memory holds the rows of both.
    private let guided: Guidance
    /// Whether codes are mixed instead of drawn (`more_smooth`: for looks, not for statistics).
    public let moreSmooth: Bool

    /// A sampler over `steps`. Throws `invalidArgument` for guidance outside 0 ... 1000, a temperature that is not positive, top-p
    /// outside 0 ... 1.
    public init(_ steps: [ScaleStep], guidance: Double, moreSmooth: Bool = false) throws(DiffError) {
        guard guidance.isFinite, (0...1000).contains(guidance) else {
            throw DiffError(.invalidArgument, "guidance must be 0...1000, found \(guidance)")
        }
        for step in steps.each {
            let t = step.truncation
            guard t.temperature.isFinite, t.temperature > 0, t.topK >= 0, (0...1).contains(t.topP) else {
                throw DiffError(
                    .invalidArgument,
                    "a scale needs temperature > 0, top_k >= 0 and top_p 0...1, found \(t.temperature), \(t.topK), \(t.topP)"
                )
            }
        }
        guided = try Guidance(.extrapolated, scale: guidance, ramp: .steps)
        (self.steps, self.moreSmooth) = (steps, moreSmooth)
    }

    /// The call of `scale`.
    public func call(_ scale: Int) -> Call {
        Call(time: Float(steps.at(scale)?.side ?? 0), index: scale, count: steps.count, step: scale)
    }

    /// Which network the run's methods choose for each scale.
    public func networks(_ run: Run) -> [Int] { Indices(below: steps.count).map { run.network(for: call($0)) } }

    /// All scales. Every one goes through the run's methods. Gives the last state. Throws `cancelled`, `notFinite`, memory errors,
    /// and whatever the networks and `observe` throw.
    public func sample(
        _ networks: any ScaleNetworks, _ draws: ScaleDraws, _ run: Run,
        observe: (NextScaleProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        var draws = draws
        var last: Tensor?
        for (scale, step) in steps.numbered {
            let share = Double(scale) / Double(max(1, steps.count &- 1))
            let isGuided = guided.scale(at: scale, of: steps.count) != nil
            var call = call(scale)
            call.network = run.network(for: call)
            let raw = try run.advance(call) { (call, run) throws(DiffError) in
                try networks.logits(scale: scale, network: call.network, guided: isGuided, run)
            }
            let half = isGuided ? raw.shape[0] / 2 : raw.shape[0]
            let logits =
                isGuided
                ? try guided.combined(
                    raw.rows(0, half), raw.rows(half, half), step: scale, of: steps.count, run) : raw
            try run.requireFinite(logits, "the logits of scale \(scale) (weights or inputs)")
            let (truncated, kept) = try run.truncated(logits, step.truncation)
            let tokens = try draws.choose(truncated, scale: scale, run)
            let state: Tensor
            if moreSmooth {
                // The published code gives the mixture the logits before the temperature.
                let plain = Truncation(topK: step.truncation.topK, topP: step.truncation.topP)
                let mixed = step.truncation == plain ? truncated : try run.truncated(logits, plain).logits
                state = try networks.take(
                    mixing: draws.mix(mixed, scale: scale, share: share, run), scale: scale, run)
            } else {
                state = try networks.take(tokens, scale: scale, run)
            }
            last = state
            try observe(
                NextScaleProgress(
                    scale: scale, scales: steps.count, side: step.side, network: call.network, logits: logits,
                    kept: kept, tokens: tokens, state: state))
            // The next scale is larger: what this one used serves nothing in it.
            run.workspace.trim()
        }
        guard let last else { throw DiffError(.invalidArgument, "a run needs at least one scale") }
        return last
    }
}
