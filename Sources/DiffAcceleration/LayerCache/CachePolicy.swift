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

    /// Whether nothing is ever reused, in however many calls.
    var computesAll: Bool { self == .none || self == .interval(every: 1) }

    /// Whether a router has rows for the steps of a run.
    var isLearned: Bool {
        switch self {
        case .learned, .shuffled: true
        case .none, .alternate, .interval, .random: false
        }
    }

    /// For each call of a run in order and each sub-layer, whether it is computed. A step makes `stages` calls.
    ///
    /// Throws `incompatible` when a router was made for other numbers of steps or sub-layers, `invalidArgument` for a bad ratio or interval.
    public func computes(steps: Int, stages: Int = 1, sublayers: Int) throws(DiffError) -> [[Bool]] {
        let calls = Checked.multiply(steps, stages) ?? Int.max
        try check(steps: steps, stages: stages, calls: calls, sublayers: sublayers)
        let full = [Bool](repeating: true, count: max(0, sublayers))
        let nothing = [Bool](repeating: false, count: max(0, sublayers))
        return Indices(below: calls).map { call in
            // Nothing is stored yet.
            guard call > 0 else { return full }
            let row = row(call, steps: steps, stages: stages)
            switch self {
            case .none: return full
            case .interval(let every): return call % max(1, every) == 0 ? full : nothing
            case .alternate: return row == nil ? full : nothing
            case .learned(let router): return row.map { router.computes(row: $0) } ?? full
            case .random(let ratio, let seed):
                let reused = Checked.integer((ratio * Double(sublayers)).rounded()) ?? 0
                return row.map { Self.drawn(reused, of: sublayers, seed, $0) } ?? full
            case .shuffled(let router, let seed):
                return row.map { row in
                    let reused = router.computes(row: row).each.reduce(0) { $1 ? $0 : $0 &+ 1 }
                    return Self.drawn(reused, of: sublayers, seed, row)
                } ?? full
            }
        }
    }

    /// The router's row that decides about `call`; nil for a full call.
    ///
    /// One call a step (DiT): steps are counted from the clean end, as the official code does; odd indices are full steps, even ones may
    /// reuse, and a router with a longer period has its full steps where the index is period - 1 modulo the period. Several calls
    /// a step (U-ViT's solver): the first call of a step may reuse what the last one of the step before gave, by the row of that
    /// number, counted from the noisy end; the others are full.
    private func row(_ call: Int, steps: Int, stages: Int) -> Int? {
        if stages > 1 { return call % stages == 0 ? call / stages : nil }
        let index = steps &- 1 &- call
        switch self {
        case .learned(let router), .shuffled(let router, _): return router.isFull(index) ? nil : index
        default: return index % 2 == 1 ? nil : index
        }
    }

    /// Elements of a table of decisions: a million steps of 60 sub-layers. More would be asked for by a hostile model only, and
    /// the table is an array, whose memory cannot be refused in order.
    private static let maxDecisions = 1 << 26

    private func check(steps: Int, stages: Int, calls: Int, sublayers: Int) throws(DiffError) {
        guard let decisions = Checked.multiply(calls, sublayers), decisions <= Self.maxDecisions else {
            throw DiffError(
                .unsupported, "\(calls) calls of \(sublayers) sub-layers are more than \(Self.maxDecisions) decisions")
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
            // A router for a solver of several calls has a row for each evaluation; an odd number of them is rounded down.
            guard router.steps / max(1, stages) == steps else {
                throw DiffError(
                    .incompatible,
                    "the router was learned for \(router.steps / max(1, stages)) steps, this run has \(steps)")
            }
            guard stages == 1 || router.period == 2 else {
                throw DiffError(
                    .incompatible, "a period of \(router.period) is for samplers with one network call per step")
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
        var computes = [Bool](repeating: true, count: max(0, sublayers))
        for (position, column) in order.numbered where position < reused { computes.put(false, at: column) }
        return computes
    }
}
