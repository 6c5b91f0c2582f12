import CKernels

extension Run {
    /// Per sample, da = gate g and dgate = the sum over rows of g a.
    func addGatedBackward(_ g: Tensor, _ x: Tensor, _ a: Tensor, _ gate: RowVectors) throws(DiffError) {
        guard let tape else { return }
        try tape.pass(g, to: x, self)
        let da = a.isTracked ? try workspace.take(a.shape) : nil
        let dgate = gate.tensor.isTracked ? try workspace.take(Shape(x.shape[0], gate.width)) : nil
        count(flops: 3 * Double(x.shape.count))
        if isLive {
            unsafe ck_gated_add_backward(
                poolHandle, g.floats, a.floats, gate.floats, Int64(gate.stride), da?.floats, dgate?.floats,
                Int64(gate.width), Int64(x.shape.rows), Int64(x.shape.last),
                Int64(max(1, x.shape.rows / max(1, x.shape[0]))))
        }
        if let da { try tape.give(da, to: a, self) }
        if let dgate { try addColumns(dgate, to: gate) }
    }

    /// w a + (1 - w) b with one weight for all samples, or one for each: `weights` is a vector of 1 or of `a.shape[0]` elements.
    ///
    /// Each product and the sum are rounded; a weight of exactly 1 gives the bits of `a`, of exactly 0 those of `b`.
    public func mix(_ a: Tensor, _ b: Tensor, weights: Tensor) throws(DiffError) -> Tensor {
        let groups = weights.shape.count
        guard a.shape == b.shape, groups == 1 || groups == a.shape[0], groups > 0 else {
            throw DiffError(.shape, "cannot mix \(a.shape) and \(b.shape) by \(weights.shape) weights")
        }
        let out = try workspace.take(a.shape)
        let each = Int64(a.shape.count / groups)
        count(flops: 3 * Double(a.shape.count))
        if isLive {
            unsafe ck_mix(poolHandle, a.floats, b.floats, weights.floats, out.floats, Int64(groups), each)
        }
        guard let tape, a.isTracked || b.isTracked || weights.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.mixBackward(g, a, b, weights, each)
        }
    }

    /// dw = the sum over a group of g (a - b), da = w g, db = (1 - w) g. Where all weights are 0 nothing flows to `a`, so that
    /// what computed it need not be gone through; where all are 1 nothing flows to `b`.
    private func mixBackward(
        _ g: Tensor, _ a: Tensor, _ b: Tensor, _ weights: Tensor, _ each: Int64
    ) throws(DiffError) {
        guard let tape else { return }
        let groups = weights.shape.count
        let dw = weights.isTracked ? try workspace.take(Shape(groups)) : nil
        let da = a.isTracked && !holds(weights, only: 0) ? try workspace.take(a.shape) : nil
        let db = b.isTracked && !holds(weights, only: 1) ? try tape.sum(for: b, self) : nil
        count(flops: 5 * Double(g.shape.count))
        if isLive {
            unsafe ck_mix_backward(
                poolHandle, g.floats, a.floats, b.floats, weights.floats, db?.add?.floats, dw?.floats, da?.floats,
                db?.out.floats, Int64(groups), each)
        }
        if let da { try tape.give(da, to: a, self) }
        if let dw { try tape.give(dw, to: weights, self) }
    }

    private func holds(_ weights: Tensor, only value: Float) -> Bool {
        guard isLive, let w = unsafe weights.floats else { return false }
        for index in Indices(below: weights.shape.count) where unsafe w[index] != value { return false }
        return true
    }
}
