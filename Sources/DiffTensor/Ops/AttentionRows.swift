/// Rows of queries, keys or values inside a tensor: [batch, rows, heads * headDim] read with a row stride, so that a
/// fused [batch, rows, 3, heads, headDim] projection needs no copy.
public struct AttentionRows: Sendable {
    /// [batch, rows, parts * width]
    public let tensor: Tensor
    /// Samples.
    public let batch: Int
    /// Queries, keys or values of a sample.
    public let rows: Int
    /// heads * headDim.
    public let width: Int
    let start: Int
    let rowStride: Int
    let batchStride: Int

    /// Part `part` of the last axis of a [batch, rows, parts * width] tensor. Throws `shape`.
    public init(_ tensor: Tensor, part: Int = 0, of parts: Int = 1) throws(DiffError) {
        guard tensor.shape.rank == 3, parts > 0, part >= 0, part < parts, tensor.shape[2] % parts == 0,
            tensor.dtype == .f32
        else { throw DiffError(.shape, "part \(part) of \(parts) of a \(tensor.shape) tensor") }
        self.tensor = tensor
        batch = tensor.shape[0]
        rows = tensor.shape[1]
        width = tensor.shape[2] / parts
        start = part &* width
        rowStride = tensor.shape[2]
        batchStride = rows &* rowStride
    }

    /// Rows `first ..< first + count` of every sample of these. Throws `shape`.
    public func rows(_ first: Int, _ count: Int) throws(DiffError) -> AttentionRows {
        guard first >= 0, count >= 0, count <= rows, first <= rows &- count else {
            throw DiffError(.shape, "rows \(first)...+\(count) of \(rows) in \(tensor.shape)")
        }
        return AttentionRows(self, first, count)
    }

    private init(_ all: AttentionRows, _ first: Int, _ count: Int) {
        (tensor, batch, width, rowStride) = (all.tensor, all.batch, all.width, all.rowStride)
        (rows, batchStride) = (count, all.batchStride)
        start = all.start &+ first &* all.rowStride
    }

    var floats: UnsafePointer<Float>? { unsafe tensor.floats.map { unsafe UnsafePointer($0 + start) } }

    /// Whether these are all rows of the tensor.
    var isWhole: Bool { rows == tensor.shape[1] }

    func isSame(as other: AttentionRows) -> Bool { reads(other.tensor) && start == other.start }

    /// Whether these rows are a part of `tensor`.
    func reads(_ tensor: Tensor) -> Bool {
        tensor.storage === self.tensor.storage && tensor.offset == self.tensor.offset
            && tensor.shape == self.tensor.shape
    }
}
