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
        _ network: any Denoiser, batches: [(x: Tensor, t: [Int], labels: [Int])], pool: WorkerPool?,
        budget: MemoryBudget?,
        cancel: CancelFlag = CancelFlag()
    ) throws(DiffError) {
        let depth = network.layout.blockCount
        similarity = Array(repeating: 0, count: max(0, depth))
        change = similarity
        for batch in batches.each {
            let probe = BlockProbe()
            let run = Run(pool: pool, budget: budget, stack: AccelerationStack([probe]), cancel: cancel)
            try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: batch.labels.count))
            let times = try run.tensor(batch.t.map(Float.init), Shape(batch.t.count))
            _ = try network(batch.x, t: times, y: batch.labels, run)
            let share = 1 / Double(max(1, batches.count))
            for block in Indices(below: depth) {
                let cosine = (probe.cosines.at(block) ?? 0) / Double(max(1, probe.tokens))
                let square = (probe.squares.at(block) ?? 0) / Double(max(1, probe.elements))
                similarity.update(at: block) { $0 += share * cosine }
                change.update(at: block) { $0 += share * square }
            }
        }
    }

    /// The blocks left when the `count` most similar ones are removed; the last block is never removed.
    public func keptBySimilarity(removing count: Int) -> [Int] { Self.kept(removing: count, bySimilarity: similarity) }

    /// The same by similarities that were added up elsewhere. The last block is never a candidate, as in the official script.
    static func kept(removing count: Int, bySimilarity similarity: [Double]) -> [Int] {
        let removable = similarity.numbered.filter { $0.offset < similarity.count &- 1 }
        return kept(removing: count, of: removable.map { -$0.element }, depth: similarity.count)
    }

    /// The blocks left when the `count` ones that change the stream least are removed.
    public func keptByChange(removing count: Int) -> [Int] {
        Self.kept(removing: count, of: change, depth: change.count)
    }

    /// The positions below `depth` that are not among the `count` lowest `scores`; ties go to the lower position.
    public static func kept(removing count: Int, of scores: [Double], depth: Int) -> [Int] {
        let order = scores.numbered.sorted {
            $0.element == $1.element ? $0.offset < $1.offset : $0.element < $1.element
        }
        var isRemoved = Array(repeating: false, count: max(0, depth))
        for (rank, score) in order.numbered where rank < count { isRemoved.put(true, at: score.offset) }
        return Indices(below: depth).filter { isRemoved.at($0) == false }
    }

    /// BK-SDM's rule as TinyFusion's code has it: the first half of the network keeps the first block of every pair, the second half
    /// the last one.
    public static func keptByPairs(depth: Int) -> [Int] {
        Indices(below: depth).filter { $0 < depth / 2 ? $0 % 2 == 0 : $0 % 2 == 1 }
    }
}
