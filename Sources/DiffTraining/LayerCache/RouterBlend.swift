import DiffTensor

/// Learning-to-Cache while it learns: every sub-layer's output is w · fresh + (1 - w) · kept, with w the router's score.
///
/// What is blended stands before the block's gate, and the fresh output comes from the blended stream, so that the student
/// meets its own errors. Source: Learning-to-Cache (arXiv 2406.01733), `router_models.py`; spec of the step in ``RouterStep``.
final class RouterBlend: Acceleration {
    enum Mode {
        /// The plain network.
        case plain
        /// The plain network; every sub-layer's output is kept.
        case keep
        /// Blends what is computed with what was kept.
        case blend
        /// As at inference: a sub-layer is computed and kept again, or what was kept is used, by these decisions.
        case decided([Bool])
    }

    var mode = Mode.plain
    /// [sub-layers], the weight of the fresh output.
    private let weights: Tensor
    private let sublayers: [Site]
    private var column: [Int] = []
    private var kept: [Tensor?] = []

    /// A blend of `sublayers` by `weights`, one element for each.
    init(_ sublayers: [Site], weights: Tensor) { (self.sublayers, self.weights) = (sublayers, weights) }

    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard weights.shape.count == sublayers.count else {
            throw DiffError(.internal, "a router of \(weights.shape) for \(sublayers.count) sub-layers")
        }
        column = context.perSite(-1)
        for (index, site) in sublayers.numbered { column.put(index, at: site.number) }
        kept = Array(repeating: nil, count: sublayers.count)
        var hooks = HookSet()
        hooks.modules = SiteSet(sublayers)
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        guard let column = column.at(site.number), kept.indices.contains(column) else { return try compute() }
        switch mode {
        case .plain: return try compute()
        case .keep:
            kept.put(nil, at: column)
            let output = try compute()
            kept.put(output.first.detached, at: column)
            return output
        case .blend:
            guard let old = kept.at(column) ?? nil, old.shape == inputs.first.shape else {
                throw DiffError(.internal, "nothing was kept to blend with")
            }
            return Slots(try run.mix(compute().first, old, weights: weights.rows(column, 1)))
        case .decided(let computes):
            if computes.at(column) == false, let old = kept.at(column) ?? nil, old.shape == inputs.first.shape {
                return Slots(old)
            }
            kept.put(nil, at: column)
            let output = try compute()
            kept.put(output.first.detached, at: column)
            return output
        }
    }

    func release() { kept = [] }

    var bytesHeld: Int { kept.each.reduce(0) { Checked.sum($0, $1?.storage.byteCount ?? 0) } }
}
