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

/// A run of queries that see the same keys: those of the tokens before `keys`.
public struct AttentionSpan: Sendable, Equatable {
    /// Queries `first ..< first + count`.
    public let first: Int, count: Int
    /// Keys `0 ..< keys`.
    public let keys: Int

    /// `count` queries from `first` on that see the first `keys` keys.
    public init(first: Int, count: Int, keys: Int) { (self.first, self.count, self.keys) = (first, count, keys) }
}

extension Run {
    /// Attention in which each span of queries sees its own first keys: block-causal attention without the work of a mask.
    ///
    /// The spans must cover all queries once. `scale` multiplies the products. A span has the bits that ``denseAttention(_:_:_:heads:)``
    /// of it alone has.
    public func spannedAttention(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, heads: Int, scale: Float, spans: [AttentionSpan]
    ) throws(DiffError) -> Tensor {
        let isLearned = tape != nil && (q.tensor.isTracked || k.tensor.isTracked || v.tensor.isTracked)
        guard !isLearned || (k.reads(q.tensor) && v.reads(q.tensor) && q.isWhole && k.isWhole && v.isWhole) else {
            throw DiffError(.unsupported, "no gradient passes through an attention in spans to a cache")
        }
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        var next = 0
        for span in spans.each {
            guard span.first == next, span.count > 0 else {
                throw DiffError(.internal, "attention: a span at \(span.first), expected \(next)")
            }
            next = span.first &+ span.count
            try dense(
                q.rows(span.first, span.count), k.rows(0, span.keys), v.rows(0, span.keys), heads, scale, to: out,
                at: span.first)
        }
        guard next == q.rows else { throw DiffError(.internal, "attention: spans of \(next) for \(q.rows) queries") }
        guard let tape, isLearned else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.spannedBackward(g, q, k, v, heads, scale, spans)
        }
    }

    /// softmax(q kᵀ / √headDim) v for every head: the dense attention of the published models, without hooks.
    ///
    /// All three have one batch and a width of heads * headDim; gives [batch, q.rows, width].
    public func denseAttention(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, heads: Int
    ) throws(DiffError) -> Tensor {
        let out = try workspace.take(Shape(q.batch, q.rows, q.width))
        try dense(q, k, v, heads, 1 / Float(q.width / max(1, heads)).squareRoot(), to: out, at: 0)
        guard let tape, q.tensor.isTracked || k.tensor.isTracked || v.tensor.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.attentionBackward(g, q, k, v, heads)
        }
    }

    /// Attention written to the rows of `out` [batch, rows, width] from `row` on.
    private func dense(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ heads: Int, _ scale: Float, to out: Tensor,
        at row: Int
    ) throws(DiffError) {
        guard heads > 0, q.width % heads == 0, k.width == q.width, v.width == q.width, k.rows == v.rows,
            q.batch == k.batch, q.batch == v.batch
        else {
            throw DiffError(
                .shape, "attention: \(q.tensor.shape), \(k.tensor.shape), \(v.tensor.shape) with \(heads) heads")
        }
        count(flops: 4 * Double(q.batch) * Double(q.rows) * Double(k.rows) * Double(q.width))
        let scratch = try scratch(
            ck_attention_scratch(Int32(clamping: threads), Int64(q.rows), Int64(k.rows), Int64(q.width / max(1, heads)))
        )
        guard isLive else { return }
        var arguments = unsafe attentionArguments(q, k, v, heads)
        unsafe arguments.out = out.floats.map { unsafe $0 + row &* q.width }
        unsafe arguments.out_batch = Int64(out.shape[1] &* q.width)
        unsafe arguments.scale = scale
        unsafe arguments.scratch = scratch?.base
        unsafe ck_attention(poolHandle, &arguments)
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

    /// Span by span: queries belong to one, keys and values add up over those that see them.
    private func spannedBackward(
        _ g: Tensor, _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ heads: Int, _ scale: Float,
        _ spans: [AttentionSpan]
    ) throws(DiffError) {
        let (gradient, part) = (try workspace.take(q.tensor.shape), try workspace.take(q.tensor.shape))
        fillZero(gradient)
        for span in spans.each {
            let (queries, keys) = (try q.rows(span.first, span.count), try k.rows(0, span.keys))
            let values = try v.rows(0, span.keys)
            count(flops: 10 * Double(q.batch) * Double(span.count) * Double(span.keys) * Double(q.width))
            let scratch = try scratch(
                ck_attention_backward_scratch(
                    Int32(clamping: threads), Int64(span.count), Int64(span.keys), Int64(q.width / max(1, heads))))
            guard isLive, let sum = unsafe gradient.floats, let more = unsafe part.floats else { continue }
            var arguments = unsafe ck_attention_backward_args()
            unsafe arguments.forward = attentionArguments(queries, keys, values, heads)
            unsafe arguments.forward.scale = scale
            unsafe arguments.forward.out_batch = Int64(q.rows &* q.width)
            unsafe arguments.g = g.floats.map { unsafe UnsafePointer($0 + span.first &* q.width) }
            unsafe arguments.dq = sum + queries.start
            unsafe arguments.dk = more + keys.start
            unsafe arguments.dv = more + values.start
            unsafe arguments.scratch = scratch?.base
            unsafe ck_attention_backward(poolHandle, &arguments)
            for sample in Indices(below: q.batch) {
                for row in Indices(below: span.keys) {
                    for rows in [keys, values] {
                        let at = rows.start &+ sample &* rows.batchStride &+ row &* rows.rowStride
                        unsafe ck_add(nil, sum + at, more + at, sum + at, Int64(q.width))
                    }
                }
            }
        }
        try tape?.give(gradient, to: q.tensor, self)
    }

    private func attentionBackward(
        _ g: Tensor, _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ heads: Int
    ) throws(DiffError) {
        guard let tape else { return }
        guard !q.isSame(as: k), !q.isSame(as: v), !k.isSame(as: v), q.isWhole, k.isWhole, v.isWhole else {
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
