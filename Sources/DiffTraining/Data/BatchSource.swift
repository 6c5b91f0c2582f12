public import DiffTensor

/// The batches of a run of learning from states: every epoch is a permutation of the samples, cut into batches; what is left over is
/// dropped.
///
/// Which samples a step gets depends on the seed and the step's number alone. With fewer samples than a batch has, samples are drawn.
public final class BatchSource {
    /// Samples and where they come from.
    public let data: LatentSet
    /// Samples of a batch.
    public let size: Int
    private let seed: UInt64
    private let order: BatchOrder
    private let scratch: Storage?

    /// Batches of `size` samples of `data`. Throws memory errors.
    public init(_ data: LatentSet, size: Int, seed: UInt64, budget: MemoryBudget?) throws(DiffError) {
        (self.data, self.size, self.seed) = (data, size, seed)
        order = BatchOrder(count: data.count, size: size, seed: seed)
        scratch = try data.scratch(budget: budget)
    }

    /// Bytes held for reading.
    var heldBytes: Int { scratch?.byteCount ?? 0 }

    /// The samples of `step`: positions in the data.
    public func indices(_ step: Int) -> [Int] { order.indices(step) }

    /// States [size, C, h, w] and labels of `step`. Throws what ``LatentSet/read(_:variants:into:scratch:)`` does.
    public func batch(_ step: Int, _ run: Run) throws(DiffError) -> (x0: Tensor, labels: [Int]) {
        let x0 = try run.workspace.take(data.sample.withRows(size))
        let chosen = indices(step)
        var draws = StepDraws(seed: seed, step: step, purpose: 2)
        let variants = data.variants > 1 ? draws.indices(size, below: data.variants) : []
        try data.read(chosen, variants: variants, into: x0, scratch: scratch)
        return (x0, chosen.each.map(data.label))
    }
}

extension Shape {
    /// The shape of `rows` tensors of this one. Throws `shape` when there would be too many axes or elements.
    func withRows(_ rows: Int) throws(DiffError) -> Shape { try Shape([rows] + dims) }
}
