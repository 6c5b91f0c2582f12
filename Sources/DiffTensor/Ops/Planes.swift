import CKernels

// Planes [batch, channels, h, w] beside tokens [batch, h w, channels]: what U-Nets do between convolutions and attention.

extension Run {
    /// x + v, the vector of each sample over its channels: `x` is [batch, channels, h, w], `v` one vector of `channels` per sample.
    public func addChannels(_ x: Tensor, _ v: RowVectors) throws(DiffError) -> Tensor {
        let (batch, channels) = (x.shape[0], x.shape[1])
        guard x.shape.rank == 4, v.width == channels, v.tensor.shape[0] == batch else {
            throw DiffError(.shape, "channels of \(x.shape) plus vectors of \(v.width) in \(v.tensor.shape)")
        }
        let out = try workspace.take(x.shape)
        let area = Int64(x.shape[2] &* x.shape[3])
        count(flops: Double(x.shape.count))
        if isLive {
            unsafe ck_add_channels(
                poolHandle, x.floats, v.floats, Int64(v.stride), out.floats, Int64(batch), Int64(channels), area)
        }
        guard let tape, x.isTracked || v.tensor.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.tape?.pass(g, to: x, run)
            guard v.tensor.isTracked else { return }
            let dv = try run.workspace.take(Shape(batch, channels))
            run.count(flops: Double(g.shape.count))
            if run.isLive { unsafe ck_plane_sums(run.poolHandle, g.floats, dv.floats, Int64(dv.shape.count), area) }
            try run.addColumns(dv, to: v)
        }
    }

    /// The channels of `a` [batch, n, h, w], then those of `b` [batch, m, h, w].
    public func joinedChannels(_ a: Tensor, _ b: Tensor) throws(DiffError) -> Tensor {
        guard a.shape.rank == 4, b.shape.rank == 4, a.shape[0] == b.shape[0], a.shape[2] == b.shape[2],
            a.shape[3] == b.shape[3]
        else { throw DiffError(.shape, "channels \(a.shape) before \(b.shape)") }
        let out = try workspace.take(Shape(a.shape[0], a.shape[1] &+ b.shape[1], a.shape[2], a.shape[3]))
        let first = a.shape[1] &* a.shape[2] &* a.shape[3]
        copyChannels(a, start: 0, to: out, start: 0)
        copyChannels(b, start: 0, to: out, start: first)
        guard let tape, a.isTracked || b.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            for (part, start) in [(a, 0), (b, first)] where part.isTracked {
                let gradient = try run.workspace.take(part.shape)
                run.copyChannels(g, start: start, to: gradient, start: 0)
                try run.tape?.give(gradient, to: part, run)
            }
        }
    }

    /// Elements of each sample of `x` from `start` on to those of `out` from its start on: as many as both have.
    private func copyChannels(_ x: Tensor, start: Int, to out: Tensor, start target: Int) {
        let samples = max(1, x.shape[0])
        let (each, room) = (x.shape.count / samples, out.shape.count / samples)
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return }
        unsafe ck_copy_runs(
            poolHandle, from + start, Int64(each), to + target, Int64(room), Int64(x.shape[0]),
            Int64(min(each &- start, room &- target)))
    }

    /// Nearest-neighbour enlargement of [batch, channels, h, w] to any size: torch's `interpolate(size:, mode="nearest")`.
    public func resizedNearest(_ x: Tensor, height: Int, width: Int) throws(DiffError) -> Tensor {
        guard x.shape.rank == 4, x.shape[2] > 0, x.shape[3] > 0, height > 0, width > 0 else {
            throw DiffError(.shape, "\(x.shape) cannot become \(height) x \(width) pixels")
        }
        let planes = Int64(x.shape[0] &* x.shape[1])
        let (h, w, toH, toW) = (Int64(x.shape[2]), Int64(x.shape[3]), Int64(height), Int64(width))
        let out = try workspace.take(Shape(x.shape[0], x.shape[1], height, width))
        if isLive { unsafe ck_resize_nearest(poolHandle, x.floats, out.floats, planes, h, w, toH, toW) }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.workspace.take(x.shape)
            run.count(flops: Double(g.shape.count))
            if run.isLive {
                unsafe ck_resize_nearest_backward(run.poolHandle, g.floats, dx.floats, planes, h, w, toH, toW)
            }
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// Pixels of [batch, channels, h, w] as tokens, row by row: [batch, h w, channels].
    public func pixelTokens(_ x: Tensor) throws(DiffError) -> Tensor {
        guard x.shape.rank == 4 else { throw DiffError(.shape, "no pixels in \(x.shape)") }
        return try transposed(x.reshaped(Shape(x.shape[0], x.shape[1], x.shape[2] &* x.shape[3])))
    }

    /// Tokens [batch, h w, channels] as planes, plus `x` [batch, channels, h, w]: the end of a transformer over pixels.
    public func addTokens(_ tokens: Tensor, to x: Tensor) throws(DiffError) -> Tensor {
        let wanted = try Shape(x.shape[0], x.shape[2] &* x.shape[3], x.shape[1])
        guard x.shape.rank == 4, tokens.shape == wanted else {
            throw DiffError(.shape, "tokens \(tokens.shape) are not the pixels of \(x.shape)")
        }
        let out = try workspace.take(x.shape)
        count(flops: Double(x.shape.count))
        if isLive {
            unsafe ck_transpose_add(
                poolHandle, tokens.floats, x.floats, out.floats, Int64(wanted[0]), Int64(wanted[1]), Int64(wanted[2]))
        }
        guard let tape, x.isTracked || tokens.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.tape?.pass(g, to: x, run)
            if tokens.isTracked { try run.tape?.give(run.pixelTokens(g), to: tokens, run) }
        }
    }
}
