public import DiffCheckpoint
public import DiffTensor

/// Depth pruning as data: which blocks of a network run. JSON: `{"method": "depth", "keep": [0, 2, 5, …]}`.
///
/// What remains computes as the checkpoint in which the other blocks were deleted does. Source: TinyFusion (arXiv
/// 2412.01199), whose decisions are such lists; other lists (by score, by hand) have the same form.
public struct DepthPlan: PlanEntry, Equatable {
    /// The name in plans.
    public static let method = "depth"
    /// Positions in the network's block list, ascending.
    public let keep: [Int]

    /// An entry that keeps these blocks. Throws `invalidArgument` unless they ascend from 0 on.
    public init(keep: [Int]) throws(DiffError) {
        guard !keep.isEmpty, keep.count <= Limits.layers else {
            throw DiffError(.invalidArgument, "a plan keeps 1...\(Limits.layers) blocks, found \(keep.count)")
        }
        for (position, block) in keep.numbered {
            guard block >= 0, position == 0 || block > keep.at(position &- 1) ?? block else {
                throw DiffError(.invalidArgument, "kept blocks must ascend from 0 on, found \(block) at \(position)")
            }
        }
        self.keep = keep
    }

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        try json.allow(only: ["method", "keep", "comment"])
        try self.init(keep: json.integers("keep", in: 0...Limits.layers))
    }

    /// The entry with its `method`.
    public var json: JSON {
        .object(["method": .string(Self.method), "keep": .array(keep.map { .integer($0) })])
    }

    /// Throws `incompatible` when the model has no such blocks.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first, let last = keep.last else { return }
        guard last < layout.blockCount else {
            throw DiffError(
                .incompatible, "block \(last) is kept, the \(layout.family) model has \(layout.blockCount) blocks")
        }
    }

    /// The pruning for one session.
    public func makeAcceleration() -> any Acceleration { DepthPruning(keep: keep) }
}

/// Depth pruning at work: the block loop runs the kept blocks only.
public final class DepthPruning: Acceleration {
    private let keep: [Int]
    private var mask: [Bool] = []

    /// A pruning to these blocks.
    public init(keep: [Int]) { self.keep = keep }

    /// Asks for nothing when all blocks are kept: that is the baseline.
    public func begin(_ opening: Opening) throws(DiffError) -> Interest {
        guard let layout = opening.layouts.first else { return Interest() }
        mask = Array(repeating: false, count: max(0, layout.blockCount))
        for block in keep.each { mask.put(true, at: block) }
        var interest = Interest()
        interest.blocks = mask.each.contains(false)
        return interest
    }

    /// Leaves out what is not kept of the model's own network.
    public func blocks(_ call: Call, _ plan: inout BlockPlan) {
        guard call.network == 0 else { return }
        plan.indices = plan.indices.each.filter { mask.at($0) ?? false }
    }
}
