import CKernels

extension Run {
    /// Whether a model should put its block loop's body into ``segment(_:)``.
    public var startsSegments: Bool { tape?.startsSegments ?? false }

    /// What `compute` gives; with a tape that recomputes, only what `compute` captures is kept for the backward pass.
    public func segment(_ compute: @escaping Tape.Segment) throws(DiffError) -> Tensor {
        guard let tape, tape.startsSegments else { return try compute() }
        return try tape.segment(compute)
    }

    /// Throws `unsupported` when a gradient would have to pass through an op that has none.
    func refuseTracked(_ x: Tensor, _ op: StaticString) throws(DiffError) {
        guard tape != nil, x.isTracked else { return }
        throw DiffError(.unsupported, "no gradient passes through \(op)")
    }

    /// A tensor of zeros.
    public func zeros(_ shape: Shape) throws(DiffError) -> Tensor {
        let out = try workspace.take(shape)
        fillZero(out)
        return out
    }

    func fillZero(_ x: Tensor) {
        guard isLive, let base = unsafe x.floats else { return }
        unsafe base.update(repeating: 0, count: max(0, x.shape.count))
    }

    /// Copies the elements of `x` to those of `target`, which lives outside of the workspace; as many as both have.
    public func copyContents(of x: Tensor, to target: Tensor) { copyElements(x, to: target) }

    func copyElements(_ x: Tensor, to out: Tensor) {
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return }
        unsafe to.update(from: from, count: min(x.shape.count, out.shape.count))
    }

    /// out += x
    func addInPlace(_ x: Tensor, to out: Tensor) {
        count(flops: Double(out.shape.count))
        if isLive { unsafe ck_add(poolHandle, out.floats, x.floats, out.floats, Int64(out.shape.count)) }
    }

    /// out += factor x, or out = factor x.
    func addScaled(_ x: Tensor, _ factor: Float, to out: Tensor, accumulates: Bool) {
        count(flops: 2 * Double(out.shape.count))
        guard isLive else { return }
        if accumulates {
            unsafe ck_axpby(poolHandle, 1, out.floats, factor, x.floats, out.floats, Int64(out.shape.count))
        } else {
            unsafe ck_scale(poolHandle, x.floats, factor, out.floats, Int64(out.shape.count))
        }
    }

    /// Gives the gradients `part` [samples, width] of one vector per sample to the columns they were read from.
    func addColumns(_ part: Tensor, to vectors: RowVectors) throws(DiffError) {
        guard let sum = try tape?.accumulator(for: vectors.tensor, self), isLive else { return }
        guard let from = unsafe part.floats, let to = unsafe sum.floats else { return }
        for sample in Indices(below: part.shape[0]) {
            let row = unsafe to + (sample &* vectors.stride &+ vectors.start)
            unsafe ck_add(nil, row, from + sample &* vectors.width, row, Int64(vectors.width))
        }
    }
}
