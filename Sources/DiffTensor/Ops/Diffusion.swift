import CKernels
import Glibc

extension Run {
    /// Channels `first ..< first + count` of every sample of [batch, channels, h, w].
    public func channels(_ x: Tensor, _ first: Int, _ count: Int) throws(DiffError) -> Tensor {
        let (batch, all) = (x.shape[0], x.shape[1])
        guard x.shape.rank == 4, first >= 0, count >= 0, count <= all, first <= all &- count else {
            throw DiffError(.shape, "channels \(first)...+\(count) of a \(x.shape) tensor")
        }
        if count == all { return x }
        let area = x.shape[2] &* x.shape[3]
        let out = try workspace.take(Shape(batch, count, x.shape[2], x.shape[3]))
        if isLive, let from = unsafe x.floats, let to = unsafe out.floats {
            for sample in Indices(below: batch) {
                unsafe (to + sample &* count &* area).update(
                    from: from + (sample &* all &+ first) &* area, count: max(0, count &* area))
            }
        }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.zeros(x.shape)
            let (rows, part) = (try Shape(batch, all, area), try Shape(batch, count, area))
            try run.storeTokens(g.reshaped(part), in: dx.reshaped(rows), at: first)
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// exp(½ v') z with v' between `minLog` and `maxLog` at (variance + 1) / 2: the noise of a learned-range variance.
    public func learnedRangeNoise(
        _ variance: Tensor, _ noise: Tensor, minLog: Float, maxLog: Float
    ) throws(DiffError) -> Tensor {
        guard variance.shape == noise.shape else {
            throw DiffError(.shape, "noise \(noise.shape) for variances \(variance.shape)")
        }
        let out = try workspace.take(noise.shape)
        guard isLive, let v = unsafe variance.floats, let z = unsafe noise.floats, let to = unsafe out.floats else {
            return out
        }
        for i in Indices(below: noise.shape.count) {
            let weight = unsafe (v[i] + 1) / 2
            let logVariance = weight * maxLog + (1 - weight) * minLog
            unsafe to[i] = expf(0.5 * logVariance) * z[i]
        }
        return out
    }

    /// factor x: a sampler's input and its start noise.
    public func scaled(_ x: Tensor, _ factor: Float) throws(DiffError) -> Tensor {
        try refuseTracked(x, "scaling")
        let out = try workspace.take(x.shape)
        count(flops: Double(x.shape.count))
        if isLive { unsafe ck_scale(poolHandle, x.floats, factor, out.floats, Int64(x.shape.count)) }
        return out
    }

    /// Root mean square over all elements of x / (absolute + relative max(|a|, |b|)): the error of an adaptive step. 0 in a dry run.
    public func scaledNorm(
        _ x: Tensor, _ a: Tensor, _ b: Tensor, absolute: Double, relative: Double
    ) throws(DiffError) -> Double {
        guard x.shape == a.shape, x.shape == b.shape else {
            throw DiffError(.shape, "the norm of \(x.shape) beside \(a.shape) and \(b.shape)")
        }
        count(flops: 6 * Double(x.shape.count))
        guard isLive, let x0 = unsafe x.floats, let a0 = unsafe a.floats, let b0 = unsafe b.floats else { return 0 }
        var sum = 0.0
        for i in Indices(below: x.shape.count) {
            let scale = absolute + relative * Double(max(unsafe abs(a0[i]), unsafe abs(b0[i])))
            let scaled = Double(unsafe x0[i]) / scale
            sum += scaled * scaled
        }
        return (sum / Double(max(1, x.shape.count))).squareRoot()
    }

    /// Standard normal values [shape] as `torch.randn(shape)` draws them from `generator`.
    public func randomNormal(_ shape: Shape, _ generator: inout TorchRandom) throws(DiffError) -> Tensor {
        let out = try workspace.take(shape)
        if isLive, let base = unsafe out.floats { unsafe generator.normal(base, count: shape.count) }
        return out
    }

    /// A copy of `values` as a tensor of `shape`. Throws `shape` when the counts differ.
    public func tensor(_ values: [Float], _ shape: Shape) throws(DiffError) -> Tensor {
        guard values.count == shape.count else {
            throw DiffError(.shape, "\(values.count) values for a tensor of shape \(shape)")
        }
        let out = try workspace.take(shape)
        guard isLive, let base = unsafe out.floats else { return out }
        unsafe values.withUnsafeBufferPointer { source in
            if let from = source.baseAddress { unsafe base.update(from: from, count: values.count) }
        }
        return out
    }
}
