public import DiffTensor

/// Layer caching at work: reuses the outputs of attention and MLP sub-layers from one step to the next.
///
/// What is kept is the module's output before the block's gate; the gate of the current step is applied to it. Which output is
/// computed, computed and kept, or reused is decided for the whole run at its beginning, so only outputs that will be
/// reused are held. Source: Learning-to-Cache (arXiv 2406.01733).
public final class LayerCache: Acceleration {
    private enum Action: UInt8 {
        case compute, computeAndKeep, reuse
    }

    private let policy: CachePolicy
    private var actions: [[Action]] = []
    private var column: [Int] = []
    /// Kept outputs of one lane by column. An object of its own, since lanes may be evaluated at once: none touches another's.
    private final class Lane {
        var kept: [Slots?]
        init(columns: Int) { kept = Array(repeating: nil, count: max(0, columns)) }
    }

    /// The same objects from `begin` to `release`.
    private var lanes: [Lane] = []

    /// A cache that follows `policy`.
    public init(_ policy: CachePolicy) { self.policy = policy }

    /// Decides for every call and site; throws `incompatible` when the router does not fit the run.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        // Whatever the sampler: a policy that reuses nothing is the baseline.
        guard !policy.computesAll else { return HookSet() }
        let stages = max(1, context.calls.limit / max(1, context.steps))
        // Rules count calls where steps have not all as many, as PNDM's first; rows of a router are of steps.
        let isEven = context.calls == .exactly(stages &* context.steps)
        guard isEven || (!policy.isLearned && context.calls == .exactly(context.calls.limit)) else {
            throw DiffError(
                .unsupported,
                "layer caching needs a sampler that makes the same number of network calls in every step, such as euler"
            )
        }
        let sites = context.sites(.attention, .mlp)
        actions = Self.compile(
            try policy.computes(
                steps: isEven ? context.steps : context.calls.limit, stages: isEven ? stages : 1,
                sublayers: sites.count))
        lanes = Indices(below: context.lanes).map { _ in Lane(columns: sites.count) }
        column = context.perSite(-1)
        var hooks = HookSet()
        hooks.separatesLanes = true
        for (index, site) in sites.numbered where actions.each.contains(where: { $0.at(index) != .compute }) {
            column.put(index, at: site.number)
            hooks.modules.insert(site)
        }
        return hooks
    }

    /// An output is kept only when the next step that asks for it reuses it.
    private static func compile(_ computes: [[Bool]]) -> [[Action]] {
        guard let width = computes.first?.count else { return [] }
        var actions = computes.map { $0.map { $0 ? Action.compute : .reuse } }
        let last = actions.count &- 1
        for column in Indices(below: width) {
            var wanted = false
            for back in Indices(below: actions.count) {
                actions.update(at: last &- back) { row in
                    row.update(at: column) { action in
                        let isReused = action == .reuse
                        if wanted, !isReused { action = .computeAndKeep }
                        wanted = isReused
                    }
                }
            }
        }
        return actions
    }

    /// Computes, keeps or reuses, as decided at the beginning.
    public func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots {
        guard let column = column.at(site.number), column >= 0, let action = actions.at(run.call.index)?.at(column),
            let lane = lanes.at(run.call.lane)
        else {
            return try compute()
        }
        switch action {
        case .compute:
            return try compute()
        case .reuse:
            guard let output = lane.kept.at(column) ?? nil, output.first.shape == inputs.first.shape else {
                return try compute()
            }
            return output
        case .computeAndKeep:
            // The old output goes first: its block can then serve as the new one's.
            lane.kept.put(nil, at: column)
            let output = try compute()
            lane.kept.put(output, at: column)
            return output
        }
    }

    /// Drops the kept outputs.
    public func release() { lanes = [] }

    /// Bytes of the kept outputs.
    public var bytesHeld: Int {
        lanes.each.reduce(0) { $1.kept.each.reduce($0) { Checked.sum($0, $1?.heldBytes ?? 0) } }
    }
}
