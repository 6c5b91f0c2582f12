import DiffTensor

/// Keeps the outputs of some blocks: what representation distillation compares.
final class FeatureTap: Acceleration {
    /// Whether outputs are kept; the methods of a run cannot change while it goes on.
    var isOpen = true
    /// Outputs by block, [batch, tokens, width]; tracked when the pass is.
    private(set) var features: [Int: Tensor] = [:]
    private let wanted: Set<Int>
    private var block: [Int] = []

    /// A tap at the blocks at these positions.
    init(_ blocks: [Int]) { wanted = Set(blocks) }

    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard let layout = context.layouts.first else { return HookSet() }
        for position in wanted.sorted().each where position < 0 || position >= layout.blockCount {
            throw DiffError(.incompatible, "no block \(position) among \(layout.blockCount)")
        }
        features = [:]
        block = context.perSite(-1)
        var hooks = HookSet()
        for (index, site) in context.sites(.block).numbered where wanted.contains(index) {
            block.put(index, at: site.number)
            hooks.modules.insert(site)
        }
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        let output = try compute()
        if isOpen, let index = block.at(site.number), index >= 0 { features.put(output.first, for: index) }
        return output
    }

    /// Lets the outputs go.
    func clear() { features = [:] }

    func release() { clear() }

    var bytesHeld: Int {
        var bytes = 0
        for (_, feature) in features { bytes = Checked.sum(bytes, feature.storage.byteCount) }
        return bytes
    }
}
