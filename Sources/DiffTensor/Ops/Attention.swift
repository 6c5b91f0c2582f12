import CKernels

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

    /// Part `part` of the last axis of a [batch, rows, parts * width] tensor. Throws `shape`.
    public init(_ tensor: Tensor, part: Int = 0, of parts: Int = 1) throws(DiffError) {
        guard tensor.shape.rank == 3, parts > 0, part >= 0, part < parts, tensor.shape[2] % parts == 0,
            tensor.dtype == .f32
        else { throw DiffError(.shape, "part \(part) of \(parts) of a \(tensor.shape) tensor") }
        self.tensor = tensor
        batch = tensor.shape[0]
        rows = tensor.shape[1]
        width = tensor.shape[2] / parts
        start = part * width
        rowStride = tensor.shape[2]
    }

    var floats: UnsafePointer<Float>? { unsafe tensor.floats.map { unsafe UnsafePointer($0 + start) } }
    var batchStride: Int { rows * rowStride }
}

extension Run {
    /// softmax(q kᵀ / √headDim) v for every head: the dense attention of the published models, without hooks.
    ///
    /// All three have one batch and a width of heads * headDim; gives [batch, q.rows, width].
    public func denseAttention(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, heads: Int
    ) throws(DiffError) -> Tensor {
        guard heads > 0, q.width % heads == 0, k.width == q.width, v.width == q.width, k.rows == v.rows,
            q.batch == k.batch, q.batch == v.batch
        else {
            throw DiffError(
                .shape, "attention: \(q.tensor.shape), \(k.tensor.shape), \(v.tensor.shape) with \(heads) heads")
        }
        let headDim = q.width / heads
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        count(flops: 4 * Double(q.batch) * Double(q.rows) * Double(k.rows) * Double(q.width))
        let scratch = try scratch(
            ck_attention_scratch(Int32(threads), Int64(q.rows), Int64(k.rows), Int64(headDim)))
        guard isLive else { return out }
        var arguments = unsafe ck_attention_args()
        unsafe (arguments.q, arguments.k, arguments.v) = unsafe (q.floats, k.floats, v.floats)
        unsafe arguments.out = out.floats
        unsafe (arguments.q_batch, arguments.q_row) = (Int64(q.batchStride), Int64(q.rowStride))
        unsafe (arguments.k_batch, arguments.k_row) = (Int64(k.batchStride), Int64(k.rowStride))
        unsafe (arguments.v_batch, arguments.v_row) = (Int64(v.batchStride), Int64(v.rowStride))
        unsafe (arguments.out_batch, arguments.out_row) = (Int64(q.rows * q.width), Int64(q.width))
        unsafe (arguments.batch, arguments.heads) = (Int64(q.batch), Int64(heads))
        unsafe (arguments.queries, arguments.keys) = (Int64(q.rows), Int64(k.rows))
        unsafe arguments.head_dim = Int64(headDim)
        unsafe arguments.scale = 1 / Float(headDim).squareRoot()
        unsafe arguments.scratch = scratch?.base
        unsafe ck_attention(poolHandle, &arguments)
        return out
    }
}
