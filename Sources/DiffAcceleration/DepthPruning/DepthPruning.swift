public import DiffTensor

/// Depth pruning at work: the block loop runs the kept blocks only.
public final class DepthPruning: Acceleration {
    private let plan: DepthPlan
    private var masks = BlockMasks()

    /// A pruning to the blocks of `plan`.
    public init(_ plan: DepthPlan) { self.plan = plan }

    /// A pruning of a network with one block list to these blocks. Throws `invalidArgument` unless they ascend from 0 on.
    public convenience init(keep: [Int]) throws(DiffError) { self.init(try DepthPlan(keep: keep)) }

    /// Asks for nothing when all blocks are kept: that is the baseline.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard let layout = context.layouts.first else { return HookSet() }
        masks = try plan.masks(layout)
        var hooks = HookSet()
        hooks.blocks = !masks.keepAll
        // Nothing changes after the beginning.
        hooks.separatesLanes = true
        return hooks
    }

    /// Leaves out what is not kept of the model's own network.
    public func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan) {
        guard call.network == 0 else { return }
        plan.indices = plan.indices.each.filter { masks.keeps($0, of: list.number) }
    }
}

/// For every block of every list of a network, whether it stays.
struct BlockMasks {
    private var masks: [[Bool]] = []

    /// No lists.
    init() {}

    /// All blocks of `layout`.
    init(_ layout: SiteLayout) {
        masks = layout.lists.map { Array(repeating: true, count: max(0, $0.count)) }
    }

    /// Only `blocks` of `list`. Throws `incompatible` when the list has no such block.
    mutating func keep(_ blocks: [Int], of list: BlockList, _ layout: SiteLayout) throws(DiffError) {
        var mask = [Bool](repeating: false, count: max(0, list.count))
        for block in blocks.each {
            guard block < list.count else {
                throw DiffError(
                    .incompatible,
                    "block \(block) of \(list.name) is kept, the \(layout.family) model has \(list.count) blocks there")
            }
            mask.put(true, at: block)
        }
        masks.put(mask, at: list.number)
    }

    /// Whether the block at `position` of list `list` stays.
    func keeps(_ position: Int, of list: Int) -> Bool { masks.at(list)?.at(position) ?? false }

    /// Whether the block that `info` belongs to stays.
    func keeps(_ info: SiteInfo) -> Bool { info.block.map { keeps($0, of: info.list) } ?? true }

    /// Whether every block stays.
    var keepAll: Bool { masks.each.allSatisfy { $0.each.allSatisfy { $0 } } }
}
