public import DiffSampling
public import DiffTensor

/// The delayed KV cache at work: a rule for the positions that a pass computes. Keys and values themselves are in the network's
/// key-value memory; every other position contributes those of the last pass that computed it.
///
/// Sources: dKV-Cache (arXiv 2505.15781) and its published code; Fast-dLLM (arXiv 2505.22618).
public final class KVCache: PositionSelection {
    private let plan: KVCachePlan
    private var samples: [Int: SampleState] = [:]

    /// What is remembered of a sample from one step to the next.
    private struct SampleState {
        /// The masked positions when the step before began.
        var masked: PositionSet?
        /// Positions that may stay out: as of the step before, and as of the beginning.
        var finished: PositionSet?, finishedAtStart: PositionSet?
    }

    /// A cache that follows `plan`.
    public init(_ plan: KVCachePlan) { self.plan = plan }

    /// Whether every step computes all: that is plain decoding.
    private var isNeutral: Bool { plan.refresh == 1 && [.decode, .greedy].contains(plan.variant) }

    /// Asks for nothing when every step computes all.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        samples = [:]
        var hooks = HookSet()
        hooks.extensions = !isNeutral
        return hooks
    }

    /// The greedy rule computes what a step will reveal.
    public var fixesOrder: Bool { plan.variant == .greedy }

    /// Forgets the samples.
    public func release() { samples = [:] }

    /// Leaves out what the variant takes from the cache.
    public func selectQueries(_ round: UnmaskingRound, _ queries: inout PositionSet) throws(DiffError) {
        var state = samples[round.sample] ?? SampleState()
        if round.stepInBlock == 0 { state = SampleState() }
        defer { samples.put(state, for: round.sample) }
        let masked = round.masked
        let isRefresh = round.stepInBlock % max(1, plan.refresh) == 0
        switch plan.variant {
        case .prefix, .dual:
            guard round.stepInBlock > 0 else { return }
            let end = plan.variant == .dual ? round.block.upperBound : masked.length
            queries.keep { $0 >= round.block.lowerBound && $0 < end }
        case .greedy:
            if !isRefresh {
                let window = window(round, masked: state.masked ?? masked)
                queries.keep { window.contains($0) }
            }
            state.masked = masked
        case .decode where !round.predictsNext:
            // Two full steps open a block: a position may stay out from the second step after its revelation on.
            if !isRefresh, round.stepInBlock > 1, let before = state.masked { queries.keep { before.contains($0) } }
            state.masked = masked
        case .decode, .prefill, .pd:
            if round.stepInBlock == 0 {
                let finished = Self.finishedAtStart(masked)
                state.finished = finished
                // What is never computed again must hold a token already: a mask in the prompt does not.
                state.finishedAtStart = finished.filter { !masked.contains($0) }
                return
            }
            let out =
                plan.variant == .prefill || (isRefresh && plan.variant == .pd) ? state.finishedAtStart : state.finished
            if let out, !isRefresh || plan.variant != .decode { queries.keep { !out.contains($0) } }
            state.finished = finished(masked)
        }
    }

    // MARK: Dream

    /// Positions whose successor is decided; of the last one, which has none, whether it is decided itself. The first position is
    /// needed for its own token too.
    private static func finishedAtStart(_ masked: PositionSet) -> PositionSet {
        let last = masked.length &- 1
        return PositionSet(of: masked.length) { position in
            let decides = min(position &+ 1, last)
            return !masked.contains(decides) && !(position == 0 && masked.contains(position))
        }
    }

    /// Positions that count as finished, by `plan.shift`.
    private func finished(_ masked: PositionSet) -> PositionSet {
        let last = masked.length &- 1
        func isFinished(_ position: Int) -> Bool {
            let next = position < last && !masked.contains(position &+ 1)
            // The first position has nothing before it, so its own results decide it.
            return plan.shift == .un && position > 0 ? next : next && !masked.contains(position)
        }
        // The published code shifts by rotating: the last position takes the flag of the first, or that of its neighbour.
        return PositionSet(of: masked.length) { position in
            guard position == last else { return isFinished(position) }
            return plan.shift == .un ? !masked.contains(0) : last > 0 && isFinished(last &- 1)
        }
    }

    // MARK: Greedy

    /// What was and will be revealed, and up to `plan.window` masked positions around each of the latter, alternately to the left and
    /// to the right, left first. `masked` is as of the step before.
    private func window(_ round: UnmaskingRound, masked: PositionSet) -> Set<Int> {
        var positions = Set(round.revealed).union(round.revealing)
        guard plan.window > 0 else { return positions }
        for center in round.revealing.each {
            var (left, right, added, isLeft) = (center &- 1, center &+ 1, 0, true)
            while added < plan.window, left >= 0 || right < masked.length {
                let position = isLeft ? left : right
                if isLeft { left &-= 1 } else { right &+= 1 }
                isLeft.toggle()
                guard masked.contains(position), positions.insert(position).inserted else { continue }
                added &+= 1
            }
        }
        return positions
    }
}
