public import DiffModels
public import DiffTensor

/// What the blocks of a network are worth by the measures that learned pruning is compared with.
public struct BlockScores: Sendable, Equatable {
    /// Cosine similarity of a block's input and output, averaged over tokens and batches: ShortGPT's block influence, 1 minus this.
    public var similarity: [Double]
    /// Mean squared difference of a block's output and input (after Flux-lite).
    public var change: [Double]

    /// Measures `network` on calibration batches: raw states [n, C, h, w], one time and label per sample.
    ///
    /// TinyFusion's official script gives clean latents and t in 0..<250; that is up to the caller. Batches count alike.
    public init(
        _ network: DiT, batches: [(x: Tensor, t: [Int], labels: [Int])], pool: WorkerPool?, budget: MemoryBudget?,
        cancel: CancelFlag = CancelFlag()
    ) throws(DiffError) {
        let depth = network.layout.blockCount
        (similarity, change) = (Array(repeating: 0, count: depth), Array(repeating: 0, count: depth))
        for batch in batches {
            let probe = BlockProbe()
            let run = Run(pool: pool, budget: budget, stack: AccelerationStack([probe]), cancel: cancel)
            try run.begin(Opening(layouts: [network.layout], calls: 1, steps: 1, rows: batch.labels.count))
            let times = try run.tensor(batch.t.map(Float.init), Shape(batch.t.count))
            _ = try network(batch.x, t: times, y: batch.labels, run)
            let share = 1 / Double(max(1, batches.count))
            for block in Indices(below: depth) {
                similarity[block] += share * (probe.cosines.at(block) ?? 0) / Double(max(1, probe.tokens))
                change[block] += share * (probe.squares.at(block) ?? 0) / Double(max(1, probe.elements))
            }
        }
    }

    /// The blocks left when the `count` most similar ones are removed; the last block is never removed.
    public func keptBySimilarity(removing count: Int) -> [Int] {
        Self.kept(removing: count, of: similarity.dropLast().map { -$0 }, depth: similarity.count)
    }

    /// The blocks left when the `count` ones that change the stream least are removed.
    public func keptByChange(removing count: Int) -> [Int] {
        Self.kept(removing: count, of: change, depth: change.count)
    }

    /// The positions below `depth` that are not among the `count` lowest `scores`; ties go to the lower position.
    public static func kept(removing count: Int, of scores: [Double], depth: Int) -> [Int] {
        let order = scores.numbered.sorted { $0.element == $1.element ? $0.offset < $1.offset : $0.element < $1.element }
        let removed = Set(order.prefix(max(0, count)).map(\.offset))
        return Indices(below: depth).filter { !removed.contains($0) }
    }

    /// BK-SDM's rule as TinyFusion's code has it: the first half of the network keeps the first block of every pair, the second half the
    /// last one.
    public static func keptByPairs(depth: Int) -> [Int] {
        Indices(below: depth).filter { $0 < depth / 2 ? $0 % 2 == 0 : $0 % 2 == 1 }
    }
}
