public import DiffCheckpoint
public import DiffTensor

/// Samples a network learns from: states and class labels, read from disk as they are needed.
///
/// States are [N, C, h, w], or [N, 2, C, h, w] with each sample's horizontally flipped copy (as the published feature files have them), one
/// of the two being picked with probability ½. Labels are N integers and stay in memory.
public final class LatentSet: Sendable {
    /// Number of samples.
    public let count: Int
    /// [C, h, w]
    public let sample: Shape
    /// 2 where each sample comes with its flipped copy, else 1.
    public let variants: Int
    private let states: ArrayFile
    private let labels: [Int]
    private let factor: Float

    /// States and labels of files (see `ArrayFile`); states are multiplied by `factor`, such as the 0.18215 of Stable Diffusion's
    /// latents. Throws `shape` when they are not [N, (2,) C, h, w] and [N], `unsupported` for elements that cannot be states or labels,
    /// `invalidArgument` for a label outside 0 ..< `classes`.
    public init(states: ArrayFile, labels: ArrayFile, factor: Double = 1, classes: Int) throws(DiffError) {
        let rank = states.shape.rank
        guard rank == 4 || (rank == 5 && states.shape[1] == 2) else {
            throw DiffError(.shape, "\(states.path): states \(states.shape), expected [N, C, h, w] or [N, 2, C, h, w]")
        }
        guard ArrayFile.readable.contains(states.type) else { throw states.unreadable() }
        variants = rank == 5 ? 2 : 1
        sample = try Shape(states.shape[rank &- 3], states.shape[rank &- 2], states.shape[rank &- 1])
        count = states.rows
        guard sample.count > 0 else { throw DiffError(.shape, "\(states.path): empty states \(states.shape)") }
        try labels.checkLabels(of: count)
        guard factor.isFinite, factor != 0 else {
            throw DiffError(.invalidArgument, "states cannot be multiplied by \(factor)")
        }
        self.labels = try labels.labels(of: count, classes: classes)
        (self.states, self.factor) = (states, Float(factor))
    }

    /// The label of a sample.
    public func label(_ index: Int) -> Int { labels.at(index) ?? 0 }

    /// Room that ``read(_:variants:into:scratch:)`` wants.
    public func scratch(budget: MemoryBudget?) throws(DiffError) -> Storage? {
        try states.scratch(sample.count, budget: budget)
    }

    /// Reads samples `indices` into `out` [n, C, h, w], of each the variant that `variants` says. Throws `io`, and `notFinite` naming the
    /// sample when one holds NaN or infinity.
    public func read(
        _ indices: [Int], variants chosen: [Int], into out: Tensor, scratch: Storage?
    ) throws(DiffError) {
        for (row, index) in indices.numbered {
            let target = try out.rows(row, 1)
            let variant = variants > 1 ? min(max(0, chosen.at(row) ?? 0), variants &- 1) : 0
            try states.read(from: (index &* variants &+ variant) &* sample.count, into: target, scratch: scratch)
            guard let values = unsafe target.floats else { continue }
            var isFinite = true
            for position in Indices(below: sample.count) {
                unsafe values[position] *= factor
                unsafe isFinite = isFinite && values[position].isFinite
            }
            guard isFinite else { throw DiffError(.notFinite, "\(states.path): sample \(index) holds NaN or infinity") }
        }
    }
}
