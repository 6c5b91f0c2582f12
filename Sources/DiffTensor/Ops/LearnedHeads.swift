import CKernels
import Glibc

// Heads while something is learned: the fused projection stays whole, and gradients pass.

extension Run {
    /// A fused projection [batch, tokens, 3 · width] with queries and keys divided by their length head by head, and the queries
    /// multiplied by the head's number in `scales` [heads]. Throws `shape`.
    public func normalisedHeads(_ qkv: Tensor, heads: Int, scales: Tensor) throws(DiffError) -> Tensor {
        let width = qkv.shape.last / 3
        guard qkv.shape.rank == 3, 3 &* width == qkv.shape[2], heads > 0, width % heads == 0,
            scales.shape.count == heads
        else { throw DiffError(.shape, "\(heads) heads of \(qkv.shape) with \(scales.shape.count) scales") }
        let (rows, each) = (Int64(qkv.shape.rows), Int64(width / heads))
        let out = try workspace.take(qkv.shape)
        count(flops: 4 * Double(qkv.shape.count))
        if isLive {
            unsafe ck_normalise_heads(poolHandle, qkv.floats, scales.floats, out.floats, rows, Int64(heads), each)
        }
        guard let tape, qkv.isTracked || scales.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            if let target = try run.tape?.target(for: scales, run) {
                run.count(flops: 4 / 3 * Double(qkv.shape.count))
                if run.isLive {
                    unsafe ck_head_scales_backward(
                        run.poolHandle, qkv.floats, g.floats, target.tensor.floats, rows, Int64(heads), each,
                        target.accumulates ? 1 : 0)
                }
            }
            guard qkv.isTracked else { return }
            let dx = try run.workspace.take(qkv.shape)
            run.count(flops: 6 * Double(qkv.shape.count))
            if run.isLive {
                unsafe ck_normalise_heads_backward(
                    run.poolHandle, qkv.floats, scales.floats, g.floats, dx.floats, rows, Int64(heads), each)
            }
            try run.tape?.give(dx, to: qkv, run)
        }
    }

    /// exp(min(x, `bound`)) of every element of a small tensor; nothing flows back to those above the bound.
    public func cappedExponentials(_ x: Tensor, bound: Float) throws(DiffError) -> Tensor {
        let out = try workspace.take(x.shape)
        count(flops: 2 * Double(x.shape.count))
        if isLive, let from = unsafe x.floats, let to = unsafe out.floats {
            for index in Indices(below: x.shape.count) { unsafe to[index] = exp(min(from[index], bound)) }
        }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.workspace.take(x.shape)
            run.count(flops: Double(x.shape.count))
            if run.isLive, let from = unsafe x.floats, let values = unsafe out.floats, let up = unsafe g.floats,
                let to = unsafe dx.floats
            {
                for index in Indices(below: x.shape.count) {
                    unsafe to[index] = from[index] <= bound ? up[index] * values[index] : 0
                }
            }
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// The tokens of `a` [batch, n, width], then those of `b` [batch, m, width].
    public func joinedTokens(_ a: Tensor, _ b: Tensor) throws(DiffError) -> Tensor {
        guard a.shape.rank == 3, b.shape.rank == 3, a.shape[0] == b.shape[0], a.shape[2] == b.shape[2] else {
            throw DiffError(.shape, "tokens \(a.shape) before \(b.shape)")
        }
        let (first, second) = (a.shape[1], b.shape[1])
        let out = try workspace.take(Shape(a.shape[0], first &+ second, a.shape[2]))
        try storeTokens(a.detached, in: out, at: 0)
        try storeTokens(b.detached, in: out, at: first)
        guard let tape, a.isTracked || b.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            if a.isTracked { try run.tape?.pass(run.tokens(g, 0, first), to: a, run) }
            if b.isTracked { try run.tape?.pass(run.tokens(g, first, second), to: b, run) }
        }
    }
}
