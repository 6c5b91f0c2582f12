import CKernels

// Signals: rows in time of so many channels. A convolution along time is a product of its weights with rows that overlap.

/// Which rows of a signal a convolution gives, and what it does to elements below 0.
private struct SignalPlace {
    let first: Int, count: Int, dilation: Int
    let slope: Float, lastSlope: Float
}

extension Run {
    /// A convolution along time of `x` [rows, inputs], whose taps are `dilation` rows apart and which has zeros outside: `count` rows [count,
    /// outputs], the first of which sees `x` from row `first` on. Elements of `x` below 0 are multiplied by `slope` before, those of the result
    /// by `lastSlope`, 0...1. With `sum` [count, outputs] they are added to what is there, and `sum` is the result.
    ///
    /// Of ``SignalWeights/isTiled`` weights the first row begins a tile. Throws `shape`.
    public func signalConvolution(
        _ x: Tensor, _ weights: SignalWeights, first: Int, count: Int, dilation: Int = 1, slope: Float = 1,
        lastSlope: Float = 1, addingTo sum: Tensor? = nil
    ) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a convolution of a signal")
        guard x.shape.rank == 2, x.shape[1] == weights.inputs, count > 0, count < Shape.maxCount, dilation > 0,
            dilation < Shape.maxCount, first.magnitude < UInt(Shape.maxCount),
            let reach = Checked.multiply(weights.taps &- 1, dilation), let rows = Checked.add(count, reach),
            rows < Shape.maxCount, (weights.bias?.shape.count ?? weights.outputs) == weights.outputs
        else {
            throw DiffError(
                .shape,
                "\(count) rows from \(first) on of \(x.shape) with \(weights.taps) taps of [\(weights.outputs), \(weights.inputs)]"
            )
        }
        let wanted = try Shape(count, weights.outputs)
        guard sum == nil || sum?.shape == wanted else {
            throw DiffError(.shape, "\(wanted) cannot be added to \(sum?.shape ?? wanted)")
        }
        let depth = weights.taps &* weights.inputs
        self.count(flops: 2 * Double(count) * Double(depth) * Double(weights.outputs) + Double(x.shape.count))
        let place = SignalPlace(first: first, count: count, dilation: dilation, slope: slope, lastSlope: lastSlope)
        let out = if let sum { sum } else { try workspace.take(wanted) }
        if weights.isTiled {
            try tiles(x, weights, place, out, adds: sum != nil)
        } else {
            try products(signalRows(x, place, rows: rows), weights, place, out, adds: sum != nil)
        }
        return out
    }

    /// By Winograd's transforms, to `out`.
    private func tiles(
        _ x: Tensor, _ weights: SignalWeights, _ place: SignalPlace, _ out: Tensor, adds: Bool
    ) throws(DiffError) {
        var arguments = unsafe ck_signal_tiles_args()
        unsafe (arguments.x_rows, arguments.inputs) = (Int64(x.shape[0]), Int64(weights.inputs))
        unsafe (arguments.first, arguments.rows) = (Int64(place.first), Int64(place.count))
        unsafe (arguments.taps, arguments.dilation) = (Int64(weights.taps), Int64(place.dilation))
        unsafe (arguments.x_slope, arguments.slope) = (place.slope, place.lastSlope)
        unsafe (arguments.n, arguments.out_row) = (Int64(weights.outputs), Int64(weights.outputs))
        unsafe arguments.accumulate = adds ? 1 : 0
        let scratch = try scratch(unsafe ck_signal_tiles_scratch(Int32(clamping: threads), &arguments))
        guard isLive else { return }
        unsafe arguments.x = UnsafePointer(x.floats)
        unsafe arguments.w = weights.floats
        unsafe arguments.bias = weights.bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.out = out.floats
        unsafe arguments.scratch = scratch?.base
        unsafe ck_signal_tiles(poolHandle, &arguments)
    }

    /// `rows` rows of `x` phase by phase: [dilation, rows of a phase, width].
    private func signalRows(_ x: Tensor, _ place: SignalPlace, rows: Int) throws(DiffError) -> Tensor {
        let dilation = place.dilation
        let out = try workspace.take(Shape(dilation, (rows &+ dilation &- 1) / max(1, dilation), x.shape[1]))
        guard isLive else { return out }
        unsafe ck_signal_rows(
            poolHandle, x.floats, Int64(x.shape[0]), Int64(x.shape[1]), Int64(place.first), Int64(rows),
            Int64(dilation), place.slope, out.floats)
        return out
    }

    /// As products of `rows`, as ``signalRows`` gives them, to `out`.
    private func products(
        _ rows: Tensor, _ weights: SignalWeights, _ place: SignalPlace, _ out: Tensor, adds: Bool
    ) throws(DiffError) {
        let (n, depth) = (Int64(weights.outputs), Int64(weights.taps &* weights.inputs))
        let scratch = try scratch(ck_signal_scratch(Int32(clamping: threads), n, depth))
        guard isLive else { return }
        var arguments = unsafe ck_signal_args()
        unsafe arguments.x = UnsafePointer(rows.floats)
        unsafe arguments.x_row = Int64(weights.inputs)
        unsafe arguments.x_phase = Int64(rows.shape[1] &* weights.inputs)
        unsafe arguments.phases = Int64(place.dilation)
        unsafe arguments.w = weights.floats
        unsafe arguments.bias = weights.bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe (arguments.out, arguments.out_row) = unsafe (out.floats, n)
        unsafe (arguments.rows, arguments.n, arguments.k) = (Int64(place.count), n, depth)
        unsafe arguments.accumulate = adds ? 1 : 0
        unsafe arguments.slope = place.lastSlope
        unsafe arguments.scratch = scratch?.base
        unsafe ck_signal(poolHandle, &arguments)
    }

    /// Writes `x` [n, count] into the columns from `column` on of rows from `row` on of `out` [rows, width]. Throws `shape`.
    public func storeColumns(_ x: Tensor, in out: Tensor, row: Int = 0, at column: Int) throws(DiffError) {
        try refuseTracked(x, "a store of columns")
        let (rows, count) = (x.shape[0], x.shape[1])
        guard x.shape.rank == 2, out.shape.rank == 2, row >= 0, column >= 0, rows <= out.shape[0],
            row <= out.shape[0] &- rows, count <= out.shape[1], column <= out.shape[1] &- count
        else { throw DiffError(.shape, "columns \(x.shape) into \(out.shape) at row \(row), column \(column)") }
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return }
        for index in Indices(below: rows) {
            let place = (row &+ index) &* out.shape[1] &+ column
            unsafe (to + place).update(from: from + index &* count, count: count)
        }
    }

    /// (x - means) / deviations, column by column of [..., width]. Throws `shape`.
    public func standardisedColumns(
        _ x: Tensor, means: Tensor, deviations: Tensor
    ) throws(DiffError) -> Tensor {
        try refuseTracked(x, "columns that are standardised")
        let width = x.shape.last
        guard means.shape.count == width, deviations.shape.count == width else {
            throw DiffError(.shape, "\(means.shape.count) means for the columns of \(x.shape)")
        }
        let out = try workspace.take(x.shape)
        count(flops: 2 * Double(x.shape.count))
        guard isLive, let from = unsafe x.floats, let mean = unsafe means.floats, let by = unsafe deviations.floats,
            let to = unsafe out.floats
        else { return out }
        for i in Indices(below: x.shape.count) {
            let column = i % max(1, width)
            unsafe to[i] = (from[i] - mean[column]) / by[column]
        }
        return out
    }
}
