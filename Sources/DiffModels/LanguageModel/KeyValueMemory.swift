public import DiffTensor

/// Keys and values of every position of every sequence, layer by layer: what attention reads when a pass computes some positions only.
///
/// Made for one generation; those of a position are overwritten whenever a pass computes it.
public final class KeyValueMemory {
    /// A sequence as the memory sees it.
    public struct Sequence: Sendable {
        /// Tokens of the sequence.
        public let length: Int
        /// Padding in front: never seen by a query, and not counted as positions.
        public let padding: Int

        /// A sequence of `length` tokens of which the first `padding` are padding.
        public init(length: Int, padding: Int = 0) { (self.length, self.padding) = (length, padding) }
    }

    /// The sequences.
    public let sequences: [Sequence]
    private let layers: [[PackedKeysValues]]
    let rotary: RotaryTable

    /// Room for `layers` layers, taken from the run's workspace. Throws `shape` for impossible sizes, and memory errors.
    public init(
        _ sequences: [Sequence], layers: Int, kvHeads: Int, headDim: Int, rotaryBase: Float, _ run: Run
    ) throws(DiffError) {
        self.sequences = sequences
        let longest = sequences.each.reduce(0) { max($0, $1.length) }
        guard longest < 1 << 24 else { throw DiffError(.shape, "keys and values of \(longest) positions") }
        rotary = try RotaryTable(count: longest, headDim: headDim, base: rotaryBase, run)
        var all: [[PackedKeysValues]] = []
        for _ in Indices(below: layers) {
            var layer: [PackedKeysValues] = []
            for sequence in sequences.each {
                layer.append(
                    try PackedKeysValues(
                        length: sequence.length, padding: sequence.padding, heads: kvHeads, headDim: headDim, run))
            }
            all.append(layer)
        }
        self.layers = all
    }

    /// Bytes of keys and values.
    public var byteCount: Int {
        var total = 0
        for layer in layers.each { for memory in layer.each { total = Checked.sum(total, memory.byteCount) } }
        return total
    }

    /// Keys and values of layer `index`, by sequence.
    func layer(_ index: Int) -> [PackedKeysValues] { layers.at(index) ?? [] }
}
