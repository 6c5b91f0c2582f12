import CKernels

/// Keys and values of every place of every sample, layer by layer: what attention over a partly fed canvas reads.
///
/// Made for one generation; a place's rows are overwritten whenever it is fed. Keys are stored after rotary position, both in
/// the order in which the attention kernels read them.
public final class KeyValueMemory {
    /// A sample's canvas as the memory sees it.
    public struct Slot: Sendable {
        /// Places of the canvas.
        public let length: Int
        /// Padding places in front: never seen by a query, and not counted as positions.
        public let padding: Int

        /// A canvas of `length` places of which the first `padding` are padding.
        public init(length: Int, padding: Int = 0) { (self.length, self.padding) = (length, padding) }
    }

    /// The samples.
    public let slots: [Slot]
    /// Attention heads that share keys and values, and elements of one.
    public let kvHeads: Int, headDim: Int
    /// Places of the longest canvas.
    public let longest: Int
    private let keys: [[Tensor]], values: [[Tensor]]
    let rotary: RotaryTable

    /// Room for `layers` layers, taken from the run's workspace. Throws `shape` for impossible sizes, and memory errors.
    public init(
        _ slots: [Slot], layers: Int, kvHeads: Int, headDim: Int, rotaryBase: Float, _ run: Run
    ) throws(DiffError) {
        guard kvHeads > 0, (2...1024).contains(headDim), headDim % 2 == 0, layers >= 0,
            slots.each.allSatisfy({ $0.length > 0 && $0.length < 1 << 24 && $0.padding >= 0 && $0.padding < $0.length })
        else { throw DiffError(.shape, "keys and values of \(kvHeads) heads of \(headDim)") }
        (self.slots, self.kvHeads, self.headDim) = (slots, kvHeads, headDim)
        longest = slots.each.reduce(0) { max($0, $1.length) }
        rotary = try RotaryTable(count: longest, headDim: headDim, base: rotaryBase, run)
        var (keys, values): ([[Tensor]], [[Tensor]]) = ([], [])
        for _ in Indices(below: layers) {
            var (layerKeys, layerValues): ([Tensor], [Tensor]) = ([], [])
            for slot in slots.each {
                let sizes = (Int64(slot.length), Int64(headDim), Int64(kvHeads))
                layerKeys.append(
                    try run.workspace.take(Shape(Int(ck_memory_keys_count(sizes.0, sizes.1, sizes.2)))))
                layerValues.append(
                    try run.workspace.take(Shape(Int(ck_memory_values_count(sizes.0, sizes.1, sizes.2)))))
            }
            // A place that was never fed must not hold NaN: its weight in a sum is zero, and zero times NaN is not.
            for tensor in layerKeys.each { run.fillZero(tensor) }
            for tensor in layerValues.each { run.fillZero(tensor) }
            keys.append(layerKeys)
            values.append(layerValues)
        }
        (self.keys, self.values) = (keys, values)
    }

    /// Bytes of keys and values.
    public var byteCount: Int {
        var total = 0
        for layer in keys.each { for tensor in layer.each { total = Checked.sum(total, tensor.byteCount) } }
        for layer in values.each { for tensor in layer.each { total = Checked.sum(total, tensor.byteCount) } }
        return total
    }

    func keys(_ layer: Int, _ slot: Int) -> Tensor? { keys.at(layer)?.at(slot) }
    func values(_ layer: Int, _ slot: Int) -> Tensor? { values.at(layer)?.at(slot) }
}
