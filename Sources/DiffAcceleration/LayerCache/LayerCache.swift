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
    /// Kept outputs by lane and column.
    private var kept: [[Tensor?]] = []

    /// A cache that follows `policy`.
    public init(_ policy: CachePolicy) { self.policy = policy }

    /// Decides for every call and site; throws `incompatible` when the router does not fit the run.
    public func begin(_ opening: Opening) throws(DiffError) -> Interest {
        guard let layout = opening.layouts.first else { return Interest() }
        guard opening.calls == opening.steps else {
            throw DiffError(.unsupported, "layer caching needs a sampler with one network call per step")
        }
        let sites = layout.sites(.attention, .mlp)
        let keeps = try policy.keeps(steps: opening.steps, sublayers: sites.count)
        actions = Self.compile(keeps)
        kept = Array(repeating: Array(repeating: nil, count: sites.count), count: opening.lanes)
        column = Array(repeating: -1, count: layout.sites.count)
        var interest = Interest()
        for (index, site) in sites.enumerated() where actions.contains(where: { $0[index] != .compute }) {
            column[site.number] = index
            interest.modules.insert(site)
        }
        return interest
    }

    /// An output is kept only when the next step that asks for it reuses it.
    private static func compile(_ keeps: [[Bool]]) -> [[Action]] {
        guard let width = keeps.first?.count else { return [] }
        var actions = keeps.map { $0.map { $0 ? Action.compute : .reuse } }
        for column in 0..<width {
            var wanted = false
            for step in actions.indices.reversed() {
                if actions[step][column] == .reuse {
                    wanted = true
                } else {
                    if wanted { actions[step][column] = .computeAndKeep }
                    wanted = false
                }
            }
        }
        return actions
    }

    /// Computes, keeps or reuses, as decided at the beginning.
    public func module(
        _ site: Site, _ input: Tensor, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Tensor {
        let (index, lane, column) = (run.call.index, run.call.lane, column[site.number])
        guard actions.indices.contains(index), kept.indices.contains(lane), column >= 0 else { return try compute() }
        switch actions[index][column] {
        case .compute:
            return try compute()
        case .reuse:
            guard let output = kept[lane][column], output.shape == input.shape else { return try compute() }
            return output
        case .computeAndKeep:
            // The old output goes first: its block can then serve as the new one's.
            kept[lane][column] = nil
            let output = try compute()
            kept[lane][column] = output
            return output
        }
    }

    /// Drops the kept outputs.
    public func release() { kept = [] }

    /// Bytes of the kept outputs.
    public var bytesHeld: Int {
        kept.each.reduce(0) { $1.each.reduce($0) { Checked.sum($0, $1?.storage.byteCount ?? 0) } }
    }
}
