import CKernels

// Signals: rows in time of so many channels. A convolution along time is a product of its weights with rows that overlap.

/// The weights of a convolution along time, in the order in which products read them. Immutable.
public struct SignalWeights: Sendable {
    /// Channels of the input, and of the output: of a transposed convolution, as many times the channels as it has strides.
    public let inputs: Int, outputs: Int
    /// Rows of the input that a row of the output is made of.
    public let taps: Int
    private let elements: Tensor
    /// [outputs]
    public let bias: Tensor?

    /// A convolution with `weight` f32 [outputs, inputs, taps] and `bias` [outputs]. Throws `shape`, `outOfMemory`, `overBudget`.
    public init(
        _ weight: Tensor, bias: Tensor?, budget: MemoryBudget? = nil, pool: WorkerPool? = nil
    ) throws(DiffError) {
        let shape = weight.shape
        guard shape.rank == 3, shape.count > 0 else { throw DiffError(.shape, "weights of a convolution \(shape)") }
        let (n, channels, taps) = (shape[0], shape[1], shape[2])
        try self.init((n, channels, taps), bias, budget, pool, isVirtual: unsafe weight.raw == nil) {
            row, tap, channel in
            (row &* channels &+ channel) &* taps &+ tap
        } from: {
            weight
        }
    }

    /// A transposed convolution of `stride` with `weight` f32 [inputs, channels, kernel] and `bias` [channels]: stretches of `stride`
    /// rows of the result as one row each. Throws `shape`, `outOfMemory`, `overBudget`.
    public init(
        transposed weight: Tensor, stride: Int, bias: Tensor?, budget: MemoryBudget? = nil, pool: WorkerPool? = nil
    ) throws(DiffError) {
        let shape = weight.shape
        guard shape.rank == 3, shape.count > 0, stride > 0, let outputs = Checked.multiply(shape[1], stride) else {
            throw DiffError(.shape, "weights of a transposed convolution \(shape) of stride \(stride)")
        }
        let (channels, kernel) = (shape[1], shape[2])
        let taps = (kernel &+ stride &- 1) / max(1, stride)
        // Row q of the result is the sum over taps of row q - taps + 1 + tap of the input.
        try self.init(
            (outputs, shape[0], taps), bias.map { (bias) throws(DiffError) in try Self.repeated(bias, stride) }, budget,
            pool, isVirtual: unsafe weight.raw == nil
        ) { row, tap, channel in
            let (phase, output) = (row / max(1, channels), row % max(1, channels))
            let position = phase &+ (taps &- 1 &- tap) &* stride
            return position < kernel ? (channel &* channels &+ output) &* kernel &+ position : nil
        } from: {
            weight
        }
    }

    /// Packs what `element` says where to find in the tensor: one row for each output, of taps of channels; nil: a zero.
    private init(
        _ sizes: (outputs: Int, inputs: Int, taps: Int), _ bias: Tensor?, _ budget: MemoryBudget?, _ pool: WorkerPool?,
        isVirtual: Bool, _ element: (_ row: Int, _ tap: Int, _ channel: Int) -> Int?, from source: () -> Tensor
    ) throws(DiffError) {
        (outputs, inputs, taps) = sizes
        self.bias = bias
        let depth = taps &* inputs  // below 2^48 by Shape's bound
        let packed = try Shape(Int(ck_packed_count(Int64(outputs), Int64(depth))))
        guard !isVirtual else {
            elements = try Tensor(Storage(virtual: packed.count &* 4), packed)
            return
        }
        elements = try Tensor(uninitialized: packed, budget: budget)
        let rows = try Tensor(uninitialized: Shape(outputs, depth), budget: budget)
        guard let from = unsafe source().floats, let to = unsafe rows.floats, let room = unsafe elements.raw else {
            return
        }
        for row in Indices(below: outputs) {
            for tap in Indices(below: taps) {
                for channel in Indices(below: inputs) {
                    let at = (row &* taps &+ tap) &* inputs &+ channel
                    if let place = element(row, tap, channel) {
                        unsafe to[at] = from[place]
                    } else {
                        unsafe to[at] = 0
                    }
                }
            }
        }
        unsafe ck_pack_matrix(pool?.pool, Int32(CK_F32), to, Int64(outputs), Int64(depth), room)
    }

    private static func repeated(_ vector: Tensor, _ times: Int) throws(DiffError) -> Tensor {
        guard unsafe vector.raw != nil else {
            return try Tensor(Storage(virtual: times &* vector.byteCount), Shape(times &* vector.shape.count))
        }
        var values: [Float] = []
        for _ in Indices(below: times) {
            for value in vector.array.each { values.append(value) }
        }
        return try Tensor(values, Shape(values.count))
    }

    fileprivate var floats: UnsafePointer<Float>? { unsafe elements.floats.map { unsafe UnsafePointer($0) } }
}

extension Run {
    /// Rows `first ..< first + count` of `x` [rows, width], zeros where it has none, for a convolution whose taps are `dilation` rows
    /// apart: [dilation, rows of a phase, width]. Elements below 0 are multiplied by `slope`, 0...1. Throws `shape`.
    public func signalRows(
        _ x: Tensor, first: Int, count: Int, dilation: Int = 1, slope: Float = 1
    ) throws(DiffError) -> Tensor {
        try refuseTracked(x, "rows of a signal")
        guard x.shape.rank == 2, count > 0, dilation > 0, count < Shape.maxCount, dilation < Shape.maxCount,
            first.magnitude < UInt(Shape.maxCount)
        else { throw DiffError(.shape, "rows \(first)...+\(count) of a signal \(x.shape)") }
        let out = try workspace.take(Shape(dilation, (count &+ dilation &- 1) / dilation, x.shape[1]))
        self.count(flops: Double(out.shape.count))
        guard isLive else { return out }
        unsafe ck_signal_rows(
            poolHandle, x.floats, Int64(x.shape[0]), Int64(x.shape[1]), Int64(first), Int64(count), Int64(dilation),
            slope, out.floats)
        return out
    }

    /// The convolution of `rows`, as ``signalRows(_:first:count:dilation:slope:)`` gives them, with `weights`: `count` rows, [count,
    /// outputs]. Results below 0 are multiplied by `slope`. With `sum` [count, outputs] they are added to what is there, and `sum` is
    /// the result. Throws `shape`.
    public func signalConvolution(
        _ rows: Tensor, _ weights: SignalWeights, count: Int, slope: Float = 1, addingTo sum: Tensor? = nil
    ) throws(DiffError) -> Tensor {
        try refuseTracked(rows, "a convolution of a signal")
        let (phases, each) = (rows.shape[0], rows.shape[1])
        let needed = (count &- 1) / max(1, phases) &+ weights.taps
        let wanted = try Shape(count, weights.outputs)
        guard rows.shape.rank == 3, rows.shape[2] == weights.inputs, count > 0, needed <= each,
            sum == nil || sum?.shape == wanted, (weights.bias?.shape.count ?? weights.outputs) == weights.outputs
        else {
            throw DiffError(
                .shape,
                "\(count) rows of \(rows.shape) with \(weights.taps) taps of [\(weights.outputs), \(weights.inputs)]")
        }
        let out = if let sum { sum } else { try workspace.take(wanted) }
        let depth = weights.taps &* weights.inputs
        self.count(flops: 2 * Double(count) * Double(depth) * Double(weights.outputs))
        let scratch = try scratch(ck_signal_scratch(Int32(clamping: threads), Int64(weights.outputs), Int64(depth)))
        guard isLive else { return out }
        var arguments = unsafe ck_signal_args()
        unsafe arguments.x = UnsafePointer(rows.floats)
        unsafe (arguments.x_row, arguments.x_phase) = (Int64(weights.inputs), Int64(each &* weights.inputs))
        unsafe arguments.phases = Int64(phases)
        unsafe arguments.w = weights.floats
        unsafe arguments.bias = weights.bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe (arguments.out, arguments.out_row) = unsafe (out.floats, Int64(weights.outputs))
        unsafe (arguments.rows, arguments.n, arguments.k) = (Int64(count), Int64(weights.outputs), Int64(depth))
        unsafe arguments.accumulate = sum == nil ? 0 : 1
        unsafe arguments.slope = slope
        unsafe arguments.scratch = scratch?.base
        unsafe ck_signal(poolHandle, &arguments)
        return out
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
