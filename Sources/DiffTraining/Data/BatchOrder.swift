import DiffTensor

/// Which samples each step of a run gets: every epoch is a permutation of the samples, cut into batches; what is left over is dropped.
///
/// The choice depends on the seed and the step's number alone. With fewer samples than a batch has, samples are drawn.
final class BatchOrder {
    /// Samples there are, and samples of a batch.
    let count: Int, size: Int
    private let seed: UInt64
    @exclusivity(unchecked) private var epoch = -1
    @exclusivity(unchecked) private var order: [Int64] = []

    init(count: Int, size: Int, seed: UInt64) { (self.count, self.size, self.seed) = (count, size, seed) }

    /// The samples of `step`: positions in the data.
    func indices(_ step: Int) -> [Int] {
        let batches = size > 0 ? count / size : 0
        guard batches > 0 else {
            var draws = StepDraws(seed: seed, step: step, purpose: 1)
            return draws.indices(size, below: count)
        }
        let wanted = step / batches
        if unsafe wanted != epoch {
            unsafe order = Array(repeating: 0, count: max(0, count))
            var draws = TorchRandom(seed: seed &+ UInt64(truncatingIfNeeded: wanted) &* 0x9e37_79b9)
            unsafe order.withUnsafeMutableBufferPointer { order in
                if let base = order.baseAddress { unsafe draws.permutation(base, count: order.count) }
            }
            unsafe epoch = wanted
        }
        let first = (step % batches) &* size
        return Indices(below: size).map { unsafe Int(order.at(first &+ $0) ?? 0) }
    }
}
