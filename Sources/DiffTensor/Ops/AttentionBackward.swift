import CKernels

extension Run {
    /// Span by span: queries belong to one, keys and values add up over those that see them.
    func spannedBackward(
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

    func attentionBackward(
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
