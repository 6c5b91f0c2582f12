import CKernels

// Streams of tokens that meet in one attention: their projections are written side by side and read apart again without a copy.

extension Run {
    /// x Wᵀ + b of `x` [batch, n, inputs], written to the tokens from `position` on of `out` [batch, tokens, outputs]. Throws `shape`.
    public func linear(
        _ x: Tensor, _ weight: WeightMatrix, bias: Tensor?, into out: Tensor, at position: Int
    ) throws(DiffError) {
        try refuseTracked(x, "a projection into joined tokens")
        let (count, all, outputs) = (x.shape[1], out.shape[1], weight.outputs)
        guard x.shape.rank == 3, x.shape[2] == weight.inputs, out.shape.rank == 3, out.shape[0] == x.shape[0],
            out.shape[2] == outputs, position >= 0, count <= all, position <= all &- count,
            (bias?.shape.count ?? outputs) == outputs
        else {
            throw DiffError(
                .shape,
                "linear: \(x.shape) with weights [\(outputs), \(weight.inputs)] into \(out.shape) at token \(position)")
        }
        for sample in Indices(below: x.shape[0]) {
            let source = unsafe x.floats.map { unsafe UnsafePointer($0 + sample &* count &* weight.inputs) }
            let target = unsafe out.floats.map { unsafe $0 + (sample &* all &+ position) &* outputs }
            try unsafe multiply(source, count, weight, bias, to: target, stride: outputs)
        }
    }

    /// x Wᵀ + b of the tokens `first ..< first + count` of every sample of `x` [batch, tokens, inputs]: [batch, count, outputs]. Throws
    /// `shape`.
    public func linear(
        _ x: Tensor, tokens first: Int, _ count: Int, _ weight: WeightMatrix, bias: Tensor?
    ) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a projection of joined tokens")
        let (all, outputs) = (x.shape[1], weight.outputs)
        guard x.shape.rank == 3, x.shape[2] == weight.inputs, first >= 0, count >= 0, count <= all,
            first <= all &- count, (bias?.shape.count ?? outputs) == outputs
        else {
            throw DiffError(
                .shape,
                "linear: tokens \(first)...+\(count) of \(x.shape) with weights [\(outputs), \(weight.inputs)]")
        }
        let out = try workspace.take(Shape(x.shape[0], count, outputs))
        for sample in Indices(below: x.shape[0]) {
            let source = unsafe x.floats.map {
                unsafe UnsafePointer($0 + (sample &* all &+ first) &* weight.inputs)
            }
            let target = unsafe out.floats.map { unsafe $0 + sample &* count &* outputs }
            try unsafe multiply(source, count, weight, bias, to: target, stride: outputs)
        }
        return out
    }

    /// Divides every head of part `part` (0: queries, 1: keys) of a fused projection [batch, tokens, 3 · width] by its root mean square and
    /// multiplies it by `weight` [width / heads], in place, for the `count` tokens from `first` on. Throws `shape`.
    public func normaliseHeads(
        in qkv: Tensor, part: Int, heads: Int, tokens first: Int, _ count: Int, weight: Tensor, eps: Float
    ) throws(DiffError) {
        try refuseTracked(qkv, "a norm of heads in place")
        let (all, width) = (qkv.shape[1], qkv.shape[2] / 3)
        guard qkv.shape.rank == 3, 3 &* width == qkv.shape[2], (0...2).contains(part), heads > 0, width % heads == 0,
            weight.shape.count == width / heads, first >= 0, count >= 0, count <= all, first <= all &- count
        else {
            throw DiffError(.shape, "\(heads) heads of \(qkv.shape) with a norm of \(weight.shape.count) weights")
        }
        self.count(flops: 4 * Double(qkv.shape[0]) * Double(count) * Double(width))
        guard isLive, let base = unsafe qkv.floats else { return }
        for sample in Indices(below: qkv.shape[0]) {
            let start = (sample &* all &+ first) &* 3 &* width &+ part &* width
            unsafe ck_rms_norm_heads(
                poolHandle, base + start, Int64(3 &* width), weight.floats, Int64(count), Int64(heads),
                Int64(width / heads), eps)
        }
    }
}
