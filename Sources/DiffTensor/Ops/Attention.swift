import CKernels

extension Run {
    /// The attention that `call` describes, whatever methods made of it: the one place that interprets its pattern.
    ///
    /// Patterns are not inlined: the frame of dense attention, which threads of small stacks must have room for, would hold their temporaries.
    func attend(_ call: AttentionCall) throws(DiffError) -> Tensor {
        let scale = call.scale ?? 1 / Float(call.queries.width / max(1, call.heads)).squareRoot()
        switch call.pattern {
        case .dense where call.scale == nil:
            return try denseAttention(call.queries, call.keys, call.values, heads: call.heads)
        case .dense: return try scaledAttention(call, scale)
        case .spans(let spans):
            return try spannedAttention(
                call.queries, call.keys, call.values, heads: call.heads, scale: scale, spans: spans)
        case .groups(let groups): return try groupedAttention(call, groups, scale)
        case .masked(let mask): return try maskedAttention(call, mask, scale)
        case .byDistance(let bias): return try distanceAttention(call, bias, scale)
        }
    }

    /// Dense attention whose scale is not that of the heads' width.
    @inline(never)
    private func scaledAttention(_ call: AttentionCall, _ scale: Float) throws(DiffError) -> Tensor {
        let all = [AttentionSpan(first: 0, count: call.queries.rows, keys: call.keys.rows)]
        return try spannedAttention(call.queries, call.keys, call.values, heads: call.heads, scale: scale, spans: all)
    }

    /// Attention in which each span of queries sees its own first keys: block-causal attention without the work of a mask.
    ///
    /// The spans must cover all queries once. `scale` multiplies the products. A span has the bits that ``denseAttention(_:_:_:heads:)``
    /// of it alone has.
    @inline(never)
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
            try checkCancel()
            try compute(
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
        try compute(q, k, v, heads, 1 / Float(q.width / max(1, heads)).squareRoot(), to: out)
        guard let tape, q.tensor.isTracked || k.tensor.isTracked || v.tensor.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.attentionBackward(g, q, k, v, heads)
        }
    }

    /// Attention written to the rows of `out` [batch, rows, width] from `row` on.
    func compute(
        _ q: AttentionRows, _ k: AttentionRows, _ v: AttentionRows, _ heads: Int, _ scale: Float,
        _ extras: AttentionExtras = AttentionExtras(), to out: Tensor, at row: Int = 0
    ) throws(DiffError) {
        guard heads > 0, q.width % heads == 0, k.width == q.width, v.width == q.width, k.rows == v.rows,
            q.batch == k.batch, q.batch == v.batch
        else {
            throw DiffError(
                .shape, "attention: \(q.tensor.shape), \(k.tensor.shape), \(v.tensor.shape) with \(heads) heads")
        }
        let (groups, shared) = (max(1, extras.groups), extras.sharedKeys?.rows ?? 0)
        let keys = extras.seesOwnKeys ? k.rows / groups : 0
        let pairs = Double(q.rows) * Double(keys &+ shared) + extras.pairsNear
        count(flops: 4 * Double(q.batch) * pairs * Double(q.width))
        var arguments = unsafe attentionArguments(q, k, v, heads)
        unsafe extras.fill(&arguments, keys: keys)
        let scratch = try scratch(unsafe ck_attention_scratch(Int32(clamping: threads), &arguments))
        guard isLive else { return }
        unsafe arguments.out = out.floats.map { unsafe $0 + row &* q.width }
        unsafe arguments.out_batch = Int64(out.shape[1] &* q.width)
        unsafe (arguments.scale, arguments.precision) = (scale, precision.factors)
        unsafe arguments.scratch = scratch?.base
        unsafe ck_attention(poolHandle, &arguments)
    }

    @unsafe func attentionArguments(
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
}
