import CKernels

extension Run {
    /// `activation` of every element.
    public func activate(_ x: Tensor, _ activation: Activation) throws(DiffError) -> Tensor {
        let out = try workspace.take(x.shape)
        count(flops: 4 * Double(x.shape.count))
        if isLive { unsafe ck_activation(poolHandle, activation.rawValue, x.floats, out.floats, Int64(x.shape.count)) }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.workspace.take(x.shape)
            run.count(flops: 8 * Double(x.shape.count))
            if run.isLive {
                unsafe ck_activation_backward(
                    run.poolHandle, activation.rawValue, x.floats, g.floats, dx.floats, Int64(x.shape.count))
            }
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// x + gate ⊙ a, the gate one vector per sample: the residual step of an adaLN-Zero block.
    public func addGated(_ x: Tensor, _ a: Tensor, gate: RowVectors) throws(DiffError) -> Tensor {
        guard x.shape == a.shape, gate.width == x.shape.last, gate.tensor.shape[0] == x.shape[0] else {
            throw DiffError(.shape, "gated add: \(x.shape) + \(gate.tensor.shape) gates of \(a.shape)")
        }
        let out = try workspace.take(x.shape)
        count(flops: 2 * Double(x.shape.count))
        if isLive {
            unsafe ck_gated_add(
                poolHandle, x.floats, a.floats, gate.floats, Int64(gate.stride), out.floats, Int64(x.shape.rows),
                Int64(x.shape.last), Int64(max(1, x.shape.rows / max(1, x.shape[0]))))
        }
        guard let tape, x.isTracked || a.isTracked || gate.tensor.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.addGatedBackward(g, x, a, gate)
        }
    }

    /// a + b, element by element.
    public func add(_ a: Tensor, _ b: Tensor) throws(DiffError) -> Tensor {
        guard a.shape == b.shape else { throw DiffError(.shape, "cannot add \(a.shape) and \(b.shape)") }
        let out = try workspace.take(a.shape)
        count(flops: Double(a.shape.count))
        if isLive { unsafe ck_add(poolHandle, a.floats, b.floats, out.floats, Int64(a.shape.count)) }
        guard let tape, a.isTracked || b.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            try run.tape?.pass(g, to: a, run)
            try run.tape?.pass(g, to: b, run)
        }
    }

    /// x + table, the table repeated for every sample: position embeddings. `table` has the elements of one sample; its gradient
    /// is the sum over the samples.
    public func addTable(_ x: Tensor, _ table: Tensor) throws(DiffError) -> Tensor {
        let samples = x.shape[0]
        guard samples > 0, x.shape.count / samples == table.shape.count else {
            throw DiffError(.shape, "cannot add a table of \(table.shape) to each sample of \(x.shape)")
        }
        let out = try workspace.take(x.shape)
        count(flops: Double(x.shape.count))
        if isLive {
            unsafe ck_add_rows(
                poolHandle, x.floats, table.floats, out.floats, Int64(samples), Int64(table.shape.count))
        }
        guard let tape, x.isTracked || table.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            if let sum = try run.tape?.target(for: table, run) {
                let each = Int64(table.shape.count)
                run.count(flops: Double(g.shape.count))
                if run.isLive {
                    unsafe ck_column_sums(
                        run.poolHandle, g.floats, Int64(samples), each, each, sum.accumulates ? 1 : 0, sum.tensor.floats
                    )
                }
            }
            try run.tape?.pass(g, to: x, run)
        }
    }

    /// alpha x + beta y, each product and the sum rounded (as torch does): the arithmetic of samplers.
    public func combine(_ alpha: Float, _ x: Tensor, _ beta: Float, _ y: Tensor) throws(DiffError) -> Tensor {
        guard x.shape == y.shape else { throw DiffError(.shape, "cannot combine \(x.shape) and \(y.shape)") }
        let out = try workspace.take(x.shape)
        count(flops: 3 * Double(x.shape.count))
        if isLive {
            unsafe ck_axpby(poolHandle, alpha, x.floats, beta, y.floats, out.floats, Int64(x.shape.count))
        }
        guard let tape, x.isTracked || y.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            for (factor, input) in [(alpha, x), (beta, y)] {
                if factor == 1 {
                    try run.tape?.pass(g, to: input, run)
                } else if let target = try run.tape?.target(for: input, run) {
                    run.addScaled(g, factor, to: target.tensor, accumulates: target.accumulates)
                }
            }
        }
    }

    /// Softmax over the last axis.
    public func softmax(_ x: Tensor) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a softmax outside attention")
        let out = try workspace.take(x.shape)
        count(flops: 5 * Double(x.shape.count))
        if isLive {
            unsafe ck_softmax_rows(poolHandle, x.floats, out.floats, Int64(x.shape.rows), Int64(x.shape.last))
        }
        return out
    }

    /// Throws `notFinite`, naming `place`, when an element is NaN or infinite.
    public func requireFinite(_ x: Tensor, _ place: @autoclosure () -> String) throws(DiffError) {
        guard isLive, unsafe ck_all_finite(poolHandle, x.floats, Int64(x.shape.count)) == 0 else { return }
        throw DiffError(.notFinite, "\(place()) holds NaN or infinity")
    }
}

extension Run {
    /// `x` [batch, channels, ...] with the channels from `first` on limited to `range`.
    public func clamped(
        _ x: Tensor, fromChannel first: Int, to range: ClosedRange<Float>
    ) throws(DiffError) -> Tensor {
        let out = try copy(x)
        let (batch, channels) = (x.shape[0], x.shape[1])
        guard isLive, let base = unsafe out.floats, channels > 0, batch > 0 else { return out }
        let area = x.shape.count / max(1, batch &* channels)
        let untouched = min(max(0, first), channels)
        for sample in Indices(below: batch) {
            let start = (sample &* channels &+ untouched) &* area
            for i in Indices(below: (channels &- untouched) &* area) {
                let at = start &+ i
                unsafe base[at] = min(max(base[at], range.lowerBound), range.upperBound)
            }
        }
        return out
    }
}
