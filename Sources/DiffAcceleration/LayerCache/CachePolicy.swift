public import DiffTensor

/// Which sub-layers are computed at which step: a learned router, or one of the rules it is compared with.
public enum CachePolicy: Sendable, Equatable {
    /// Everything is computed at every step: the baseline.
    case none
    /// Every second step reuses everything.
    case alternate
    /// One full step in `every`; the steps between reuse everything.
    case interval(every: Int)
    /// Cached steps reuse this share of the sub-layers, drawn from `seed`.
    case random(ratio: Double, seed: UInt64)
    /// Cached steps reuse as many sub-layers as the router would, other ones, drawn from `seed`.
    case shuffled(Router, seed: UInt64)
    case learned(Router)

    /// For each executed step (noisiest first) and sub-layer, whether it is computed.
    ///
    /// Steps are counted from the clean end: odd indices are full steps, even ones may reuse (l2c.py: full first, then
    /// cached); a router with a longer period has its full steps where the index is period - 1 modulo the period. With an odd
    /// number of steps the first one finds nothing stored and is full. Throws `incompatible` when a
    /// router was made for other numbers of steps or sub-layers, `invalidArgument` for a bad ratio or interval.
    public func keeps(steps: Int, sublayers: Int) throws(DiffError) -> [[Bool]] {
        try check(steps: steps, sublayers: sublayers)
        let full = [Bool](repeating: true, count: max(0, sublayers))
        let nothing = [Bool](repeating: false, count: max(0, sublayers))
        return Indices(below: steps).map { executed in
            let index = steps &- 1 &- executed
            guard executed > 0 else { return full }
            switch self {
            case .none: return full
            case .interval(let every): return executed % max(1, every) == 0 ? full : nothing
            case .alternate: return index % 2 == 1 ? full : nothing
            case .learned(let router): return router.isFull(index) ? full : router.keeps(row: index)
            case .random(let ratio, let seed):
                let reused = Checked.integer((ratio * Double(sublayers)).rounded()) ?? 0
                return index % 2 == 1 ? full : Self.drawn(reused, of: sublayers, seed, index)
            case .shuffled(let router, let seed):
                let reused = router.keeps(row: index).each.reduce(0) { $1 ? $0 : $0 &+ 1 }
                return router.isFull(index) ? full : Self.drawn(reused, of: sublayers, seed, index)
            }
        }
    }

    /// Elements of a table of decisions: a million steps of 60 sub-layers. More would be asked for by a hostile model only, and
    /// the table is an array, whose memory cannot be refused in order.
    private static let maxDecisions = 1 << 26

    private func check(steps: Int, sublayers: Int) throws(DiffError) {
        guard let decisions = Checked.multiply(steps, sublayers), decisions <= Self.maxDecisions else {
            throw DiffError(
                .unsupported, "\(steps) steps of \(sublayers) sub-layers are more than \(Self.maxDecisions) decisions")
        }
        switch self {
        case .none, .alternate: return
        case .interval(let every):
            guard (1...1_000_000).contains(every) else {
                throw DiffError(.invalidArgument, "an interval must be 1...1000000, found \(every)")
            }
        case .random(let ratio, _):
            guard (0...1).contains(ratio) else {
                throw DiffError(.invalidArgument, "a ratio must be 0...1, found \(ratio)")
            }
        case .learned(let router), .shuffled(let router, _):
            guard router.sublayers == sublayers else {
                throw DiffError(
                    .incompatible, "the router has \(router.sublayers) columns, the model \(sublayers) sub-layers")
            }
            guard router.steps == steps else {
                throw DiffError(
                    .incompatible, "the router was learned for \(router.steps) steps, this run has \(steps)")
            }
        }
    }

    /// The sub-layers outside a random subset of `reused`: every step has a stream of its own.
    private static func drawn(_ reused: Int, of sublayers: Int, _ seed: UInt64, _ index: Int) -> [Bool] {
        var generator = TorchRandom(seed: seed &+ UInt64(truncatingIfNeeded: index) &* 0x9e37_79b9)
        var order = Array(Indices(below: sublayers))
        for drawn in Indices(below: sublayers &- 1) {
            let i = sublayers &- 1 &- drawn
            let j = Int(generator.next32() % max(1, UInt32(truncatingIfNeeded: i &+ 1)))
            guard let a = order.at(i), let b = order.at(j) else { continue }
            order.put(b, at: i)
            order.put(a, at: j)
        }
        var keeps = [Bool](repeating: true, count: max(0, sublayers))
        for (place, column) in order.numbered where place < reused { keeps.put(false, at: column) }
        return keeps
    }
}
