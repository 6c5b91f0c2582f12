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
        start = part &* width
        rowStride = tensor.shape[2]
    }

    var floats: UnsafePointer<Float>? { unsafe tensor.floats.map { unsafe UnsafePointer($0 + start) } }
    var batchStride: Int { rows &* rowStride }

    func isSame(as other: AttentionRows) -> Bool { reads(other.tensor) && start == other.start }

    /// Whether these rows are a part of `tensor`.
    func reads(_ tensor: Tensor) -> Bool {
        tensor.storage === self.tensor.storage && tensor.offset == self.tensor.offset
            && tensor.shape == self.tensor.shape
    }
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
        let headDim = q.width / max(1, heads)
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        count(flops: 4 * Double(q.batch) * Double(q.rows) * Double(k.rows) * Double(q.width))
        let scratch = try scratch(
            ck_attention_scratch(Int32(clamping: threads), Int64(q.rows), Int64(k.rows), Int64(headDim)))
        if isLive {
            var arguments = unsafe attentionArguments(q, k, v, heads)
            unsafe arguments.out = out.floats
            unsafe arguments.scratch = scratch?.base
            unsafe ck_attention(poolHandle, &arguments)
        }
        guard let tape, q.tensor.isTracked || k.tensor.isTracked || v.tensor.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.attentionBackward(g, q, k, v, heads)
        }
    }

    @unsafe private func attentionArguments(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ heads: Int
    ) -> ck_attention_args {
        let headDim = q.width / max(1, heads)
        var arguments = unsafe ck_attention_args()
        unsafe (arguments.q, arguments.k, arguments.v) = unsafe (q.floats, k.floats, v.floats)
        unsafe (arguments.q_batch, arguments.q_row) = (Int64(q.batchStride), Int64(q.rowStride))
        unsafe (arguments.k_batch, arguments.k_row) = (Int64(k.batchStride), Int64(k.rowStride))
        unsafe (arguments.v_batch, arguments.v_row) = (Int64(v.batchStride), Int64(v.rowStride))
        unsafe (arguments.out_batch, arguments.out_row) = (Int64(q.rows &* q.width), Int64(q.width))
        unsafe (arguments.batch, arguments.heads) = (Int64(q.batch), Int64(heads))
        unsafe (arguments.queries, arguments.keys) = (Int64(q.rows), Int64(k.rows))
        unsafe arguments.head_dim = Int64(headDim)
        unsafe arguments.scale = 1 / Float(headDim).squareRoot()
        return unsafe arguments
    }

    private func attentionBackward(
        _ g: Tensor, _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ heads: Int
    ) throws(DiffError) {
        guard let tape else { return }
        guard !q.isSame(as: k), !q.isSame(as: v), !k.isSame(as: v) else {
            throw DiffError(.unsupported, "no gradient passes through an attention of rows to themselves")
        }
        // Parts of one projection share a tensor, whose gradient is then filled part by part.
        var gradients: [(of: Tensor, gradient: Tensor)] = []
        for rows in [q, k, v].each where !gradients.each.contains(where: { rows.reads($0.of) }) {
            let gradient = try workspace.take(rows.tensor.shape)
            let parts = [q, k, v].each.filter { $0.reads(rows.tensor) }
            if parts.count &* rows.width < rows.tensor.shape.last { fillZero(gradient) }
            gradients.append((rows.tensor, gradient))
        }
        count(flops: 10 * Double(q.batch) * Double(q.rows) * Double(k.rows) * Double(q.width))
        let headDim = q.width / max(1, heads)
        let scratch = try scratch(
            ck_attention_backward_scratch(Int32(clamping: threads), Int64(q.rows), Int64(k.rows), Int64(headDim)))
        if isLive {
            var arguments = unsafe ck_attention_backward_args()
            unsafe arguments.forward = attentionArguments(q, k, v, heads)
            unsafe arguments.g = UnsafePointer(g.floats)
            unsafe arguments.dq = start(of: q, in: gradients)
            unsafe arguments.dk = start(of: k, in: gradients)
            unsafe arguments.dv = start(of: v, in: gradients)
            unsafe arguments.scratch = scratch?.base
            unsafe ck_attention_backward(poolHandle, &arguments)
        }
        for (tensor, gradient) in gradients.each { try tape.give(gradient, to: tensor, self) }
    }

    /// Where the gradient of `rows` begins.
    private func start(
        of rows: AttentionRows, in gradients: [(of: Tensor, gradient: Tensor)]
    ) -> UnsafeMutablePointer<Float>? {
        let gradient = gradients.each.first { rows.reads($0.of) }?.gradient
        return unsafe gradient?.floats.map { unsafe $0 + rows.start }
    }
}
