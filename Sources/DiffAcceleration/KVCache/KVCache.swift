public import DiffTensor

/// Caching of keys and values at work: a rule for the places that a pass feeds. Keys and values themselves are kept by the
/// network's memory; a place that is not fed contributes those of the last pass that fed it.
///
/// Sources: dKV-Cache (arXiv 2505.15781) and its published code; Fast-dLLM (arXiv 2505.22618).
public final class KVCache: Acceleration {
    private let plan: KVCachePlan
    private var samples: [Int: SampleState] = [:]

    /// What is remembered of a sample from one step to the next.
    private struct SampleState {
        /// The masked places when the step before began.
        var masked: [Bool] = []
        /// Places that may stay out: as of the step before, and as of the beginning.
        var finished: [Bool] = [], finishedAtStart: [Bool] = []
    }

    /// A cache that follows `plan`.
    public init(_ plan: KVCachePlan) { self.plan = plan }

    /// Asks for nothing when all is fed in every step: that is plain decoding.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        samples = [:]
        var hooks = HookSet()
        let always = plan.refresh == 1 && [.decode, .greedy].contains(plan.variant)
        hooks.feeding = !always
        hooks.fixedOrder = !always && plan.variant == .greedy
        return hooks
    }

    /// Forgets the samples.
    public func release() { samples = [:] }

    /// Leaves out what the variant takes from the cache.
    public func feed(_ round: UnmaskingRound, _ fed: inout [Bool]) throws(DiffError) {
        var state = samples[round.sample] ?? SampleState()
        if round.stepInBlock == 0 { state = SampleState() }
        defer { samples.put(state, for: round.sample) }
        let masked = round.isMasked
        let isRefresh = round.stepInBlock % max(1, plan.refresh) == 0
        switch plan.variant {
        case .prefix, .dual:
            guard round.stepInBlock > 0 else { return }
            let end = plan.variant == .dual ? round.block.upperBound : masked.count
            keep(&fed) { $0 >= round.block.lowerBound && $0 < end }
        case .greedy:
            if !isRefresh {
                let window = window(round, masked: state.masked)
                keep(&fed) { window.contains($0) }
            }
            state.masked = masked
        case .decode where !round.predictsNext:
            // Two full steps open a block: a place may stay out from the second step after its revelation on.
            if !isRefresh, round.stepInBlock > 1 { keep(&fed) { state.masked.at($0) ?? true } }
            state.masked = masked
        case .decode, .prefill, .pd:
            if round.stepInBlock == 0 {
                state.finished = Self.finishedAtStart(masked)
                // What is never fed again must hold a token already: a mask in the prompt does not.
                state.finishedAtStart = state.finished.numbered.map { $0.element && !(masked.at($0.offset) ?? true) }
                return
            }
            let out =
                plan.variant == .prefill || (isRefresh && plan.variant == .pd) ? state.finishedAtStart : state.finished
            if !isRefresh || plan.variant != .decode { keep(&fed) { !(out.at($0) ?? false) } }
            state.finished = finished(masked)
        }
    }

    private func keep(_ fed: inout [Bool], _ condition: (Int) -> Bool) {
        for place in Indices(below: fed.count) where !condition(place) { fed.put(false, at: place) }
    }

    // MARK: Dream

    /// Places whose successor is decided; of the last one, which has none, whether it is decided itself. The first place is needed for
    /// its own token too.
    private static func finishedAtStart(_ masked: [Bool]) -> [Bool] {
        masked.numbered.map { place, isMasked in
            !(masked.at(place &+ 1) ?? isMasked) && !(place == 0 && isMasked)
        }
    }

    /// Places that count as finished, by `plan.shift`.
    private func finished(_ masked: [Bool]) -> [Bool] {
        let last = masked.count &- 1
        var flags = masked.numbered.map { place, isMasked in
            let next = !(masked.at(place &+ 1) ?? true)
            // The first place has nothing before it, so its own results decide it.
            return plan.shift == .un && place > 0 ? next : next && !isMasked
        }
        guard flags.indices.contains(last) else { return flags }
        // The published code shifts by rotating: the last place takes the flag of the first, or that of its neighbour.
        flags[last] = plan.shift == .un ? !(masked.first ?? true) : flags.at(last &- 1) ?? false
        return flags
    }

    // MARK: Greedy

    /// What was and will be revealed, and up to `plan.window` masked places around each of the latter, alternately to the left and
    /// to the right, left first. `masked` is as of the step before.
    private func window(_ round: UnmaskingRound, masked: [Bool]) -> Set<Int> {
        var places = Set(round.revealed).union(round.revealing)
        guard plan.window > 0 else { return places }
        for center in round.revealing.each {
            var (left, right, added, isLeft) = (center &- 1, center &+ 1, 0, true)
            while added < plan.window, left >= 0 || right < masked.count {
                let place = isLeft ? left : right
                if isLeft { left &-= 1 } else { right &+= 1 }
                isLeft.toggle()
                guard masked.at(place) ?? false, places.insert(place).inserted else { continue }
                added &+= 1
            }
        }
        return places
    }
}
