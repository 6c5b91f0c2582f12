import CKernels

/// The rows of one pass against a memory: what the attention kernels are told about them.
public struct MemoryRows {
    /// Rows of the pass.
    public let count: Int
    let memory: KeyValueMemory
    fileprivate let places: [Int64]
    fileprivate let spans: [(first: Int, count: Int, slot: Int)]

    /// The fed rows of `feeding`, or only the wanted ones. Throws `internal` when a sample or a place is not in the memory.
    public init(_ feeding: Feeding, wantedOnly: Bool = false, _ memory: KeyValueMemory) throws(DiffError) {
        var (places, spans): ([Int64], [(first: Int, count: Int, slot: Int)]) = ([], [])
        for sample in feeding.samples.each {
            guard let slot = memory.slots.at(sample.slot), (sample.places.last ?? 0) < slot.length else {
                throw DiffError(.internal, "a sample fed to slot \(sample.slot) is not in the memory")
            }
            let chosen = wantedOnly ? sample.wanted.each.compactMap { sample.places.at($0) } : sample.places
            spans.append((places.count, chosen.count, sample.slot))
            for place in chosen.each { places.append(Int64(place)) }
        }
        (self.places, self.spans, self.memory, count) = (places, spans, memory, places.count)
    }

    fileprivate var mostRows: Int { spans.each.reduce(0) { max($0, $1.count) } }

    /// Calls `body` with the description of the spans in layer `layer`.
    fileprivate func withSpans(
        _ layer: Int, _ body: (UnsafePointer<ck_memory_rows>?, Int) -> Void
    ) {
        unsafe places.withUnsafeBufferPointer { places in
            var rows: [ck_memory_rows] = unsafe []
            for span in spans.each {
                guard let slot = memory.slots.at(span.slot), let keys = memory.keys(layer, span.slot),
                    let values = memory.values(layer, span.slot), let start = places.baseAddress
                else { continue }
                var entry = unsafe ck_memory_rows()
                unsafe (entry.first, entry.count) = (Int64(span.first), Int64(span.count))
                unsafe entry.places = start + span.first
                unsafe (entry.length, entry.first_key) = (Int64(slot.length), Int64(slot.padding))
                unsafe entry.rotation = Int64(slot.padding)
                unsafe (entry.keys, entry.values) = unsafe (keys.floats, values.floats)
                unsafe rows.append(entry)
            }
            unsafe rows.withUnsafeBufferPointer { rows in unsafe body(rows.baseAddress, rows.count) }
        }
    }
}

extension Run {
    /// Puts keys and values of the fed rows into layer `layer` of their memory, keys turned to their positions.
    ///
    /// `projection` is [1, rows, 2 · kvHeads · headDim]: keys, then values.
    public func store(_ projection: Tensor, _ rows: MemoryRows, layer: Int) throws(DiffError) {
        let memory = rows.memory
        guard projection.shape.rows == rows.count, projection.shape.last == 2 &* memory.kvHeads &* memory.headDim else {
            throw DiffError(.shape, "keys and values \(projection.shape) of \(rows.count) rows")
        }
        turn(rows, layer, queries: nil, heads: memory.kvHeads, projection)
    }

    /// softmax(q kᵀ / √headDim) v of each row over all places of its sample, padding left out; `queries`
    /// [1, rows, heads · headDim] are turned to their positions in place. Head h reads the keys of h · kvHeads / heads.
    public func attention(_ queries: Tensor, _ rows: MemoryRows, layer: Int, heads: Int) throws(DiffError) -> Tensor {
        try refuseTracked(queries, "an attention over a memory")
        let memory = rows.memory
        guard heads > 0, heads % max(1, memory.kvHeads) == 0, queries.shape.rows == rows.count,
            queries.shape.last == heads &* memory.headDim
        else { throw DiffError(.shape, "queries \(queries.shape) of \(rows.count) rows and \(heads) heads") }
        turn(rows, layer, queries: queries, heads: heads, nil)
        let out = try workspace.take(queries.shape)
        // The scratch of the largest pass: passes of every size then share one block.
        let (most, longest) = (Int64(memory.longest), Int64(memory.longest))
        let scratch = try scratch(ck_memory_attention_scratch(Int32(clamping: threads), most, longest))
        var pairs = 0.0
        for span in rows.spans.each { pairs += Double(span.count) * Double(memory.slots.at(span.slot)?.length ?? 0) }
        count(flops: 4 * pairs * Double(queries.shape.last))
        guard isLive else { return out }
        unsafe rows.withSpans(layer) { (spans, count) in
            var arguments = unsafe ck_memory_attention_args()
            unsafe (arguments.samples, arguments.sample_count) = unsafe (spans, Int64(count))
            unsafe (arguments.heads, arguments.kv_heads) = (Int64(heads), Int64(memory.kvHeads))
            unsafe arguments.head_dim = Int64(memory.headDim)
            unsafe (arguments.q, arguments.out) = unsafe (UnsafePointer(queries.floats), out.floats)
            unsafe arguments.scale = 1 / Float(memory.headDim).squareRoot()
            unsafe (arguments.longest, arguments.most_rows) = (longest, Int64(rows.mostRows))
            unsafe arguments.scratch = scratch?.base
            unsafe ck_memory_attention(poolHandle, &arguments)
        }
        return out
    }

    private func turn(_ rows: MemoryRows, _ layer: Int, queries: Tensor?, heads: Int, _ projection: Tensor?) {
        guard isLive else { return }
        let memory = rows.memory
        unsafe rows.withSpans(layer) { (spans, count) in
            var arguments = unsafe ck_memory_store_args()
            unsafe (arguments.samples, arguments.sample_count) = unsafe (spans, Int64(count))
            unsafe (arguments.heads, arguments.kv_heads) = (Int64(heads), Int64(memory.kvHeads))
            unsafe arguments.head_dim = Int64(memory.headDim)
            unsafe arguments.cosines = UnsafePointer(memory.rotary.cosines.floats)
            unsafe arguments.sines = UnsafePointer(memory.rotary.sines.floats)
            unsafe arguments.q = queries.flatMap { unsafe $0.floats }
            unsafe arguments.kv = projection.flatMap { unsafe UnsafePointer($0.floats) }
            unsafe ck_memory_store(poolHandle, &arguments)
        }
    }
}
