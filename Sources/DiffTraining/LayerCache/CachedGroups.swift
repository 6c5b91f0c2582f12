import DiffTensor

/// A network call that may reuse sub-layers, and the router's row that decides about it.
struct CachedCall: Sendable, Equatable {
    /// Position among the network calls of a run, from the noisiest.
    let call: Int
    /// Row of the router.
    let row: Int
}

/// Full network calls and the cached ones that follow them down to the next full one; calls are counted from the noisiest.
struct CachedGroup: Sendable, Equatable {
    /// The call that data are noised to: where the step begins that `full` belongs to.
    let start: Int
    /// The last full call, whose sub-layer outputs the cached ones reuse. All calls from `start` on to it are full.
    let full: Int
    /// The cached calls, in order.
    let cached: [CachedCall]

    /// The groups of a run with one call a step, one of `period` steps being full, noisiest first; full steps that nothing follows are
    /// left out. Rows are counted from the clean end.
    ///
    /// The rule is that of inference (`CachePolicy.computes`): the first executed step is full whatever its index.
    static func singleCalls(steps: Int, period: Int) -> [CachedGroup] {
        var groups: [CachedGroup] = []
        var (full, cached): (Int, [CachedCall]) = (0, [])
        for executed in Indices(below: steps &- 1) {
            let (call, index) = (executed &+ 1, steps &- 2 &- executed)
            if period > 0, index % period == period &- 1 {
                groups.append(CachedGroup(start: full, full: full, cached: cached))
                (full, cached) = (call, [])
            } else {
                cached.append(CachedCall(call: call, row: index))
            }
        }
        groups.append(CachedGroup(start: full, full: full, cached: cached))
        return groups.each.filter { !$0.cached.isEmpty }
    }

    /// The groups of a run with two calls a step: the second is full, and the first of the next step reuses what it gave. Rows are the
    /// numbers of steps, counted from the noisy end.
    static func pairedCalls(steps: Int) -> [CachedGroup] {
        Indices(below: steps &- 1).map { step in
            CachedGroup(
                start: 2 &* step, full: 2 &* step &+ 1, cached: [CachedCall(call: 2 &* step &+ 2, row: step &+ 1)])
        }
    }
}
