import CKernels

/// Keys and values of one attention for the tokens seen so far, in room for all that will come.
public struct KeyValueBuffer: Sendable {
    /// [batch, capacity, width] each
    public let keys: Tensor, values: Tensor
    /// Tokens of a sample there is room for.
    public var capacity: Int { keys.shape[1] }

    /// Room for `capacity` tokens in the run's workspace.
    public init(batch: Int, capacity: Int, width: Int, _ run: Run) throws(DiffError) {
        let shape = try Shape(batch, capacity, width)
        keys = try run.workspace.take(shape)
        values = try run.workspace.take(shape)
    }
}

extension Run {
    /// The queries of a fused projection [batch, tokens, 3 · width]; its keys and values go to `buffer` from token `position` on.
    ///
    /// With `scales` [heads], keys and queries are divided by their length head by head, and the queries multiplied by the head's
    /// number. Gives [batch, tokens, width]. Throws `shape`.
    public func splitHeads(
        _ qkv: Tensor, heads: Int, scales: Tensor?, into buffer: KeyValueBuffer, at position: Int
    ) throws(DiffError) -> Tensor {
        try refuseTracked(qkv, "a key-value buffer")
        let (batch, tokens, width) = (qkv.shape[0], qkv.shape[1], buffer.keys.shape[2])
        guard qkv.shape.rank == 3, qkv.shape[2] == 3 &* width, heads > 0, width % heads == 0,
            buffer.keys.shape[0] == batch, position >= 0, tokens <= buffer.capacity,
            position <= buffer.capacity &- tokens, (scales?.shape.count ?? heads) == heads
        else {
            throw DiffError(
                .shape, "heads of \(qkv.shape) with \(heads) heads into \(buffer.keys.shape) at \(position)")
        }
        let out = try workspace.take(Shape(batch, tokens, width))
        if scales != nil { count(flops: 6 * Double(out.shape.count)) }
        guard isLive else { return out }
        var arguments = unsafe ck_split_heads_args()
        unsafe arguments.qkv = UnsafePointer(qkv.floats)
        unsafe (arguments.q, arguments.k, arguments.v) = unsafe (out.floats, buffer.keys.floats, buffer.values.floats)
        unsafe arguments.scale = scales.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe (arguments.batch, arguments.tokens) = (Int64(batch), Int64(tokens))
        unsafe (arguments.heads, arguments.head_dim) = (Int64(heads), Int64(width / heads))
        unsafe (arguments.kv_batch, arguments.at) = (Int64(buffer.capacity &* width), Int64(position))
        unsafe ck_split_heads(poolHandle, &arguments)
        return out
    }

    /// Tokens `start ..< start + count` of every sample of [batch, tokens, width].
    public func tokens(_ x: Tensor, _ start: Int, _ count: Int) throws(DiffError) -> Tensor {
        if start == 0, x.shape.rank == 3, count == x.shape[1] { return x }
        guard x.shape.rank == 3, start >= 0, count >= 0, count <= x.shape[1], start <= x.shape[1] &- count else {
            throw DiffError(.shape, "tokens \(start)...+\(count) of a \(x.shape) tensor")
        }
        let out = try workspace.take(Shape(x.shape[0], count, x.shape[2]))
        if isLive, let from = unsafe x.floats, let to = unsafe out.floats {
            let width = x.shape[2]
            for sample in Indices(below: x.shape[0]) {
                unsafe (to + sample &* count &* width).update(
                    from: from + (sample &* x.shape[1] &+ start) &* width, count: count &* width)
            }
        }
        guard let tape, x.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in
            let dx = try run.zeros(x.shape)
            try run.storeTokens(g, in: dx, at: start)
            try run.tape?.give(dx, to: x, run)
        }
    }

    /// Writes the tokens of `x` [batch, n, width] into those from `position` on of `out` [batch or more, tokens, width], samples
    /// from `row` on.
    public func storeTokens(_ x: Tensor, in out: Tensor, row: Int = 0, at position: Int) throws(DiffError) {
        try refuseTracked(x, "a store of tokens")
        let (width, count) = (x.shape[2], x.shape[1])
        guard x.shape.rank == 3, out.shape.rank == 3, out.shape[2] == width, position >= 0, count <= out.shape[1],
            position <= out.shape[1] &- count, row >= 0, x.shape[0] <= out.shape[0],
            row <= out.shape[0] &- x.shape[0]
        else { throw DiffError(.shape, "tokens \(x.shape) into \(out.shape) at sample \(row), token \(position)") }
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return }
        for sample in Indices(below: x.shape[0]) {
            unsafe (to + ((row &+ sample) &* out.shape[1] &+ position) &* width).update(
                from: from + sample &* count &* width, count: count &* width)
        }
    }
}
