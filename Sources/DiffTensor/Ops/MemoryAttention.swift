import CKernels

/// Keys and values of one sequence in one layer, at every position, as the attention kernels read them.
///
/// ``Run/store(_:at:in:_:)`` overwrites single positions, so these tensors are an exception to the rule that contents are written once,
/// and nothing else gets to see them. Keys are kept after rotary embedding.
public struct PackedKeysValues: Sendable {
    /// Tokens of the sequence.
    public let length: Int
    /// Padding in front: positions that no query sees, and that rotary positions do not count.
    public let padding: Int
    /// Heads, and elements of one.
    public let heads: Int, headDim: Int
    let keys: Tensor, values: Tensor

    /// Zeros. Throws `shape` for impossible sizes, and memory errors.
    public init(length: Int, padding: Int, heads: Int, headDim: Int, _ run: Run) throws(DiffError) {
        guard heads > 0, (2...1024).contains(headDim), headDim % 2 == 0, length > 0, length < 1 << 24, padding >= 0,
            padding < length
        else { throw DiffError(.shape, "keys and values of \(heads) heads of \(headDim), \(length) positions") }
        (self.length, self.padding, self.heads, self.headDim) = (length, padding, heads, headDim)
        let sizes = (Int64(length), Int64(headDim), Int64(heads))
        keys = try run.workspace.take(Shape(Int(ck_memory_keys_count(sizes.0, sizes.1, sizes.2))))
        values = try run.workspace.take(Shape(Int(ck_memory_values_count(sizes.0, sizes.1, sizes.2))))
        // A position that was never stored must not hold NaN: its weight in a sum is zero, and zero times NaN is not.
        run.fillZero(keys)
        run.fillZero(values)
    }

    /// Bytes of keys and values.
    public var byteCount: Int { Checked.sum(keys.byteCount, values.byteCount) }
}

/// The rows of a batch of sequences as the kernels are told of them.
private struct MemoryRows {
    let count: Int, mostRows: Int, longest: Int
    let heads: Int, headDim: Int
    /// Pairs of a row and a position that it sees.
    let pairs: Double
    private let positions: [PositionSet], memory: [PackedKeysValues]

    /// Throws `internal` unless each sequence has a memory of its length, all with the same heads and no longer than `rotary`.
    init(_ positions: [PositionSet], _ memory: [PackedKeysValues], _ rotary: RotaryTable) throws(DiffError) {
        let (heads, headDim) = (memory.first?.heads ?? 1, memory.first?.headDim ?? 2)
        var (count, most, longest, pairs) = (0, 0, 0, 0.0)
        var fits = positions.count == memory.count && rotary.cosines.shape.last == headDim / 2
        for (index, set) in positions.numbered {
            guard let own = memory.at(index) else { continue }
            fits = fits && own.length == set.length && own.length <= rotary.count
            fits = fits && own.heads == heads && own.headDim == headDim
            (count, most, longest) = (Checked.sum(count, set.count), max(most, set.count), max(longest, own.length))
            pairs += Double(set.count) * Double(own.length)
        }
        guard fits else {
            throw DiffError(.internal, "positions of \(positions.count) sequences in a memory of \(memory.count)")
        }
        (self.count, mostRows, self.longest, self.pairs) = (count, most, longest, pairs)
        (self.heads, self.headDim, self.positions, self.memory) = (heads, headDim, positions, memory)
    }

    /// Calls `body` with the description of the sequences that have rows.
    func withSpans(_ body: (UnsafePointer<ck_memory_rows>?, Int) -> Void) {
        var all: [Int64] = []
        all.reserveCapacity(count)
        for set in positions.each { for position in set.positions.each { all.append(Int64(position)) } }
        unsafe all.withUnsafeBufferPointer { all in
            var spans: [ck_memory_rows] = unsafe []
            var first = 0
            for (index, set) in positions.numbered {
                guard !set.isEmpty, let own = memory.at(index), let start = all.baseAddress else { continue }
                var span = unsafe ck_memory_rows()
                unsafe (span.first, span.count) = (Int64(first), Int64(set.count))
                unsafe span.positions = start + first
                unsafe (span.length, span.first_key) = (Int64(own.length), Int64(own.padding))
                unsafe span.rotation = Int64(own.padding)
                unsafe (span.keys, span.values) = unsafe (own.keys.floats, own.values.floats)
                unsafe spans.append(span)
                first &+= set.count
            }
            unsafe spans.withUnsafeBufferPointer { spans in unsafe body(spans.baseAddress, spans.count) }
        }
    }
}

extension Run {
    /// Puts keys and values of the rows at `positions` of each sequence into its `memory`, keys after rotary embedding.
    ///
    /// `projection` is [1, rows, 2 · heads · headDim]: keys, then values; rows go sequence by sequence, in ascending position.
    public func store(
        _ projection: Tensor, at positions: [PositionSet], in memory: [PackedKeysValues], _ rotary: RotaryTable
    ) throws(DiffError) {
        let rows = try MemoryRows(positions, memory, rotary)
        guard projection.shape.rows == rows.count, projection.shape.last == 2 &* rows.heads &* rows.headDim else {
            throw DiffError(.shape, "keys and values \(projection.shape) of \(rows.count) rows")
        }
        rotate(rows, rotary, queries: nil, heads: rows.heads, projection)
    }

    /// softmax(q kᵀ / √headDim) v of each row over all positions of its sequence, padding left out; `queries`
    /// [1, rows, heads · headDim] get their rotary embedding in place. Query head h reads key head h · memory heads / heads.
    public func attention(
        _ queries: Tensor, at positions: [PositionSet], over memory: [PackedKeysValues], _ rotary: RotaryTable,
        heads: Int
    ) throws(DiffError) -> Tensor {
        try refuseTracked(queries, "an attention over a memory")
        let rows = try MemoryRows(positions, memory, rotary)
        guard heads > 0, heads % max(1, rows.heads) == 0, queries.shape.rows == rows.count,
            queries.shape.last == heads &* rows.headDim
        else { throw DiffError(.shape, "queries \(queries.shape) of \(rows.count) rows and \(heads) heads") }
        rotate(rows, rotary, queries: queries, heads: heads, nil)
        let out = try workspace.take(queries.shape)
        // The scratch of the largest pass: passes of every size then share one block.
        let longest = Int64(rows.longest)
        let scratch = try scratch(ck_memory_attention_scratch(Int32(clamping: threads), longest, longest))
        count(flops: 4 * rows.pairs * Double(queries.shape.last))
        guard isLive else { return out }
        unsafe rows.withSpans { (spans, count) in
            var arguments = unsafe ck_memory_attention_args()
            unsafe (arguments.samples, arguments.sample_count) = unsafe (spans, Int64(count))
            unsafe (arguments.heads, arguments.kv_heads) = (Int64(heads), Int64(rows.heads))
            unsafe arguments.head_dim = Int64(rows.headDim)
            unsafe (arguments.q, arguments.out) = unsafe (UnsafePointer(queries.floats), out.floats)
            unsafe arguments.scale = 1 / Float(rows.headDim).squareRoot()
            unsafe (arguments.longest, arguments.most_rows) = (longest, Int64(rows.mostRows))
            unsafe arguments.scratch = scratch?.base
            unsafe ck_memory_attention(poolHandle, &arguments)
        }
        return out
    }

    private func rotate(_ rows: MemoryRows, _ rotary: RotaryTable, queries: Tensor?, heads: Int, _ projection: Tensor?)
    {
        guard isLive else { return }
        unsafe rows.withSpans { (spans, count) in
            var arguments = unsafe ck_memory_store_args()
            unsafe (arguments.samples, arguments.sample_count) = unsafe (spans, Int64(count))
            unsafe (arguments.heads, arguments.kv_heads) = (Int64(heads), Int64(rows.heads))
            unsafe arguments.head_dim = Int64(rows.headDim)
            unsafe arguments.cosines = UnsafePointer(rotary.cosines.floats)
            unsafe arguments.sines = UnsafePointer(rotary.sines.floats)
            unsafe arguments.q = queries.flatMap { unsafe $0.floats }
            unsafe arguments.kv = projection.flatMap { unsafe UnsafePointer($0.floats) }
            unsafe ck_memory_store(poolHandle, &arguments)
        }
    }
}
