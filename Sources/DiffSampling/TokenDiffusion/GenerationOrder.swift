public import DiffTensor

/// In which order the tokens of each picture are generated: the **last** of an order are generated first.
public struct GenerationOrder: Sendable, Equatable {
    /// Whose random numbers orders are drawn with.
    public enum Generator: String, Sendable, CaseIterable {
        /// `torch.randperm` for each sample, by the generator that noise is drawn with afterwards.
        case torch
        /// `numpy.random.shuffle` for each sample after `numpy.random.seed`, as the published code has it; noise is drawn by torch's generator of
        /// the same seed.
        case numpy
    }

    /// A permutation of all positions for each sample.
    public let positions: [[Int]]

    /// These orders. Throws `invalidArgument` unless each is a permutation of 0 ..< tokens.
    public init(_ positions: [[Int]], tokens: Int) throws(DiffError) {
        for (sample, order) in positions.numbered {
            var seen = [Bool](repeating: false, count: max(0, tokens))
            for position in order.each { seen.put(true, at: position) }
            guard order.count == tokens, seen.each.allSatisfy({ $0 }) else {
                throw DiffError(.invalidArgument, "the order of sample \(sample) is no permutation of 0..<\(tokens)")
            }
        }
        self.positions = positions
    }

    /// Orders for `samples` samples drawn from `noise`, a generator that was just seeded with `seed`, or from one of NumPy's of that seed.
    public init(
        samples: Int, tokens: Int, _ generator: Generator, seed: UInt64, _ noise: inout TorchRandom
    ) {
        var orders: [[Int]] = []
        switch generator {
        case .torch: for _ in Indices(below: samples) { orders.append(noise.permutation(count: tokens)) }
        case .numpy:
            var numpy = TorchRandom(seed: seed)
            for _ in Indices(below: samples) { orders.append(numpy.shuffled(count: tokens)) }
        }
        positions = orders
    }

    /// The positions from number `first` of each order on, `count` of them, ascending.
    func positions(_ first: Int, _ count: Int) -> [[Int]] {
        positions.each.map { Self.ascending($0, first, count) }
    }

    private static func ascending(_ order: [Int], _ first: Int, _ count: Int) -> [Int] {
        var isTaken = [Bool](repeating: false, count: max(0, order.count))
        for (index, position) in order.numbered where index >= first && index &- first < count {
            isTaken.put(true, at: position)
        }
        var taken: [Int] = []
        for (position, flag) in isTaken.numbered where flag { taken.append(position) }
        return taken
    }
}
