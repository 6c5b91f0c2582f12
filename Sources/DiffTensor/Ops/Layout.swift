import CKernels

extension Run {
    /// [batch, channels, gh p, gw p] to tokens [batch, gh gw, channels p p], features in order (channel, dy, dx).
    public func patchify(_ x: Tensor, patch p: Int) throws(DiffError) -> Tensor {
        let (b, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        guard x.shape.rank == 4, p > 0, h % p == 0, w % p == 0 else {
            throw DiffError(.shape, "a \(x.shape) tensor has no patches of \(p)")
        }
        let (gh, gw) = (h / p, w / p)
        let out = try workspace.take(Shape(b, gh &* gw, c &* p &* p))
        if isLive {
            unsafe ck_patchify(poolHandle, x.floats, out.floats, Int64(b), Int64(c), Int64(gh), Int64(gw), Int64(p))
        }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.workspace.take(x.shape)
            if run.isLive {
                unsafe ck_patchify_backward(
                    run.poolHandle, g.floats, dx.floats, Int64(b), Int64(c), Int64(gh), Int64(gw), Int64(p))
            }
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// Tokens [batch, gh gw, p p channels], features (dy, dx, channel), to [batch, channels, gh p, gw p].
    public func unpatchify(
        _ x: Tensor, channels c: Int, gridHeight gh: Int, gridWidth gw: Int, patch p: Int
    ) throws(DiffError) -> Tensor {
        guard x.shape.rank == 3, gh >= 0, gw >= 0, p >= 0, c >= 0,
            x.shape[1] == gh &* gw, x.shape[2] == p &* p &* c
        else {
            throw DiffError(.shape, "\(x.shape) tokens are not a \(gh) x \(gw) grid of \(p) x \(p) x \(c) patches")
        }
        let out = try workspace.take(Shape(x.shape[0], c, gh &* p, gw &* p))
        if isLive {
            unsafe ck_unpatchify(
                poolHandle, x.floats, out.floats, Int64(x.shape[0]), Int64(c), Int64(gh), Int64(gw), Int64(p))
        }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.workspace.take(x.shape)
            if run.isLive {
                unsafe ck_unpatchify_backward(
                    run.poolHandle, g.floats, dx.floats, Int64(x.shape[0]), Int64(c), Int64(gh), Int64(gw), Int64(p))
            }
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// The way back from ``patchify(_:patch:)``: tokens [batch, gh gw, channels p p], features (channel, dy, dx), to
    /// [batch, channels, gh p, gw p].
    public func unpatchifiedChannels(
        _ x: Tensor, channels c: Int, gridHeight gh: Int, gridWidth gw: Int, patch p: Int
    ) throws(DiffError) -> Tensor {
        try refuseTracked(x, "pictures of channel-first tokens")
        guard x.shape.rank == 3, gh >= 0, gw >= 0, p >= 0, c >= 0,
            x.shape[1] == gh &* gw, x.shape[2] == p &* p &* c
        else {
            throw DiffError(.shape, "\(x.shape) tokens are not a \(gh) x \(gw) grid of \(c) x \(p) x \(p) patches")
        }
        let out = try workspace.take(Shape(x.shape[0], c, gh &* p, gw &* p))
        if isLive {
            unsafe ck_patchify_backward(
                poolHandle, x.floats, out.floats, Int64(x.shape[0]), Int64(c), Int64(gh), Int64(gw), Int64(p))
        }
        return out
    }

    /// Exchanges the last two axes of a [batch, rows, cols] tensor.
    public func transposed(_ x: Tensor) throws(DiffError) -> Tensor {
        guard x.shape.rank == 3 else { throw DiffError(.shape, "cannot transpose \(x.shape)") }
        let out = try workspace.take(Shape(x.shape[0], x.shape[2], x.shape[1]))
        if isLive {
            unsafe ck_transpose(
                poolHandle, x.floats, out.floats, Int64(x.shape[0]), Int64(x.shape[1]), Int64(x.shape[2]))
        }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.tape?.give(run.transposed(g), to: x, run)
        }
    }

    /// Rows `indices` of a [rows, width] table in any element type: [indices.count, width]. Throws `invalidArgument`
    /// for an index outside the table.
    public func embedding(_ table: Tensor, _ indices: [Int]) throws(DiffError) -> Tensor {
        let out = try workspace.take(Shape(indices.count, table.shape.last))
        for (position, index) in indices.numbered {
            guard index >= 0, index < table.shape[0] else {
                throw DiffError(
                    .invalidArgument, "index \(index) at position \(position) is outside 0..<\(table.shape[0])")
            }
            guard isLive else { continue }
            var row = Int64(index)
            let width = table.shape.last
            unsafe ck_embedding(
                table.raw, table.dtype.rawValue, &row, out.floats.map { unsafe $0 + position &* width }, 1, Int64(width)
            )
        }
        guard let tape, table.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            guard let sum = try run.tape?.accumulator(for: table, run), run.isLive else { return }
            let rows = indices.each.map { Int64($0) }
            unsafe rows.withUnsafeBufferPointer { rows in
                unsafe ck_embedding_backward(
                    g.floats, rows.baseAddress, sum.floats, Int64(rows.count), Int64(table.shape.last))
            }
        }
    }

    /// The samples of `x` twice in a row: the input of a guided pass ([x; x]).
    public func doubled(_ x: Tensor) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a doubled batch")
        let out = try workspace.take(x.shape.replacingFirst(x.shape[0] &* 2))
        if isLive, let from = unsafe x.floats, let to = unsafe out.floats {
            unsafe to.update(from: from, count: x.shape.count)
            unsafe (to + x.shape.count).update(from: from, count: x.shape.count)
        }
        return out
    }

    /// A copy in a block of its own.
    public func copy(_ x: Tensor) throws(DiffError) -> Tensor {
        let out = try workspace.take(x.shape)
        copyElements(x, to: out)
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in try run.tape?.pass(g, to: x, run) }
    }

    /// Nearest-neighbour enlargement of [batch, channels, h, w] by a whole factor.
    public func upsampleNearest(_ x: Tensor, factor: Int) throws(DiffError) -> Tensor {
        try refuseTracked(x, "an enlargement")
        guard x.shape.rank == 4, (1...64).contains(factor) else {
            throw DiffError(.shape, "cannot enlarge \(x.shape) by \(factor)")
        }
        let (b, c, h, w) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        let out = try workspace.take(Shape(b, c, h &* factor, w &* factor))
        if isLive {
            unsafe ck_upsample_nearest(
                poolHandle, x.floats, out.floats, Int64(b &* c), Int64(h), Int64(w), Int64(factor))
        }
        return out
    }
}

extension Run {
    /// `table` [rows, width] in f32 with its rows `indices` replaced by those of `x` [indices.count, width]. Throws `shape`, and
    /// `invalidArgument` for an index outside the table.
    public func replacedRows(_ table: Tensor, _ indices: [Int], with x: Tensor) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a change of rows")
        let width = table.shape.last
        guard table.shape.rank == 2, x.shape.rank == 2, x.shape[1] == width, x.shape[0] == indices.count else {
            throw DiffError(.shape, "\(indices.count) rows of \(table.shape) cannot become \(x.shape)")
        }
        let out = try copy(table)
        for (position, index) in indices.numbered {
            guard index >= 0, index < table.shape[0] else {
                throw DiffError(.invalidArgument, "row \(index) is outside 0..<\(table.shape[0])")
            }
            guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { continue }
            unsafe (to + index &* width).update(from: from + position &* width, count: max(0, width))
        }
        return out
    }

    /// Writes the single sample `x` into row `row` of `out` [batch, ...].
    public func store(_ x: Tensor, in out: Tensor, row: Int) throws(DiffError) {
        let target = try out.rows(row, 1)
        guard target.shape.count == x.shape.count else {
            throw DiffError(.shape, "a \(x.shape) tensor as row \(row) of \(out.shape)")
        }
        if isLive, let from = unsafe x.floats, let to = unsafe target.floats {
            unsafe to.update(from: from, count: x.shape.count)
        }
    }
}

extension Run {
    /// u8[n, h, w, c] = round(x[n, c, h, w] * scale + offset), limited to 0 ... 255, half to even; NaN gives 0.
    public func quantize(_ x: Tensor, into out: Storage, scale: Float, offset: Float) throws(DiffError) {
        guard x.shape.rank == 4, out.byteCount >= x.shape.count else {
            throw DiffError(.shape, "8-bit images from a \(x.shape) tensor")
        }
        guard isLive else { return }
        unsafe ck_to_u8_nhwc(
            poolHandle, x.floats, out.base?.assumingMemoryBound(to: UInt8.self), Int64(x.shape[0]), Int64(x.shape[1]),
            Int64(x.shape[2]), Int64(x.shape[3]), scale, offset)
    }
}
