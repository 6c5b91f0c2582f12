import CKernels

extension Run {
    /// value ⊙ gelu(gate) with the normal distribution function, where the last axis of `x` holds the values and then as many gates:
    /// [..., 2 width] to [..., width]. Source: the feed-forward of diffusers' transformers (`GEGLU`).
    public func geGLU(_ x: Tensor) throws(DiffError) -> Tensor {
        guard x.shape.rank > 0, x.shape.last % 2 == 0 else {
            throw DiffError(.shape, "values and as many gates do not make \(x.shape)")
        }
        let width = x.shape.last / 2
        let out = try workspace.take(x.shape.replacingLast(width))
        count(flops: 5 * Double(out.shape.count))
        if isLive { unsafe ck_geglu(poolHandle, x.floats, out.floats, Int64(x.shape.rows), Int64(width)) }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.workspace.take(x.shape)
            run.count(flops: 14 * Double(g.shape.count))
            if run.isLive {
                unsafe ck_geglu_backward(
                    run.poolHandle, x.floats, g.floats, dx.floats, Int64(x.shape.rows), Int64(width))
            }
            try run.tape?.give(dx, to: x, run)
        }
    }
}
