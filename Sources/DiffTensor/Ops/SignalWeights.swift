import CKernels

/// The weights of a convolution along time, in the order in which products read them. Immutable.
public struct SignalWeights: Sendable {
    /// Channels of the input, and of the output: of a transposed convolution, as many times the channels as it has strides.
    public let inputs: Int, outputs: Int
    /// Rows of the input that a row of the output is made of.
    public let taps: Int
    /// Whether rows are computed by Winograd's transforms, ``tile`` of them at once.
    public let isTiled: Bool
    private let elements: Tensor
    /// [outputs]
    public let bias: Tensor?

    /// Rows that are computed together, so that a row's bits depend on where in a tile it stands.
    public var tile: Int { isTiled ? Int(CK_SIGNAL_TILE) : 1 }
    /// Rows of the input, from the first one's on, that the last row of a tile is made of: taps that fill up a group among them.
    public var reach: Int { isTiled ? Int(ck_signal_groups(Int64(taps))) &* tile : taps }

    /// A convolution with `weight` f32 [outputs, inputs, taps] and `bias` [outputs]. Throws `shape`, `outOfMemory`, `overBudget`.
    public init(
        _ weight: Tensor, bias: Tensor?, method: ConvolutionMethod = .auto, budget: MemoryBudget? = nil,
        pool: WorkerPool? = nil
    ) throws(DiffError) {
        let shape = weight.shape
        guard shape.rank == 3, shape.count > 0 else { throw DiffError(.shape, "weights of a convolution \(shape)") }
        let (n, channels, taps) = (shape[0], shape[1], shape[2])
        try self.init((n, channels, taps), bias, method, budget, pool, isVirtual: unsafe weight.raw == nil) {
            row, tap, channel in
            (row &* channels &+ channel) &* taps &+ tap
        } from: {
            weight
        }
    }

    /// A transposed convolution of `stride` with `weight` f32 [inputs, channels, kernel] and `bias` [channels]: stretches of `stride`
    /// rows of the result as one row each. Throws `shape`, `outOfMemory`, `overBudget`.
    public init(
        transposed weight: Tensor, stride: Int, bias: Tensor?, method: ConvolutionMethod = .auto,
        budget: MemoryBudget? = nil, pool: WorkerPool? = nil
    ) throws(DiffError) {
        let shape = weight.shape
        guard shape.rank == 3, shape.count > 0, stride > 0, let outputs = Checked.multiply(shape[1], stride) else {
            throw DiffError(.shape, "weights of a transposed convolution \(shape) of stride \(stride)")
        }
        let (channels, kernel) = (shape[1], shape[2])
        let taps = (kernel &+ stride &- 1) / max(1, stride)
        // Row q of the result is the sum over taps of row q - taps + 1 + tap of the input.
        try self.init(
            (outputs, shape[0], taps), bias.map { (bias) throws(DiffError) in try Self.repeated(bias, stride) }, method,
            budget, pool, isVirtual: unsafe weight.raw == nil
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
        _ sizes: (outputs: Int, inputs: Int, taps: Int), _ bias: Tensor?, _ method: ConvolutionMethod,
        _ budget: MemoryBudget?, _ pool: WorkerPool?, isVirtual: Bool,
        _ element: (_ row: Int, _ tap: Int, _ channel: Int) -> Int?, from source: () -> Tensor
    ) throws(DiffError) {
        (outputs, inputs, taps) = sizes
        self.bias = bias
        let (n, channels, taps) = (Int64(outputs), Int64(inputs), Int64(sizes.taps))
        isTiled = method != .direct && ck_signal_tiles_worth(n, channels, taps) != 0
        let depth = sizes.taps &* inputs  // below 2^48 by Shape's bound
        let packed = try Shape(
            Int(isTiled ? ck_signal_tiles_count(n, channels, taps) : ck_packed_count(n, Int64(depth))))
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
            for tap in Indices(below: sizes.taps) {
                for channel in Indices(below: inputs) {
                    let at = (row &* sizes.taps &+ tap) &* inputs &+ channel
                    if let place = element(row, tap, channel) {
                        unsafe to[at] = from[place]
                    } else {
                        unsafe to[at] = 0
                    }
                }
            }
        }
        guard isTiled else {
            unsafe ck_pack_matrix(pool?.pool, Int32(CK_F32), to, n, Int64(depth), room)
            return
        }
        unsafe ck_signal_tiles_pack(pool?.pool, to, n, channels, taps, unsafe elements.floats)
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

    var floats: UnsafePointer<Float>? { unsafe elements.floats.map { unsafe UnsafePointer($0) } }
}
