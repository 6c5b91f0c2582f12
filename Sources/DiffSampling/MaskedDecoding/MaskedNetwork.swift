public import DiffTensor

/// A pass of a masked network: an entry for each of its sequences, those that take no part included.
public struct MaskedPass: Sendable {
    /// All tokens of each sequence.
    public private(set) var sequences: [[Int]]
    /// Positions whose keys and values are computed; none where a sequence takes no part.
    public private(set) var queries: [PositionSet]
    /// The query positions whose results are wanted.
    public private(set) var wanted: [PositionSet]

    /// A pass in which no sequence takes part yet.
    init(_ sequences: [[Int]]) {
        self.sequences = sequences
        queries = sequences.map { PositionSet(of: $0.count) { _ in false } }
        wanted = queries
    }

    mutating func put(_ queries: PositionSet, wanted: PositionSet, at index: Int) {
        self.queries.put(queries, at: index)
        self.wanted.put(wanted, at: index)
    }

    /// The pass followed by the same positions of `others`, which have the same lengths.
    func doubled(_ others: [[Int]]) -> MaskedPass {
        var pass = self
        pass.sequences += others
        pass.queries += queries
        pass.wanted += wanted
        return pass
    }

    /// Rows of the pass.
    public var queryRows: Int { queries.each.reduce(0) { Checked.sum($0, $1.count) } }
    /// Rows whose results are wanted.
    public var wantedRows: Int { wanted.each.reduce(0) { Checked.sum($0, $1.count) } }
}

/// A network as masked decoding sees it.
public struct MaskedNetwork {
    /// Size of the vocabulary.
    public let vocabulary: Int
    /// A pass: stores keys and values at the query positions, gives the states of the wanted ones [1, wanted, width].
    public let states: (_ pass: MaskedPass, _ run: Run) throws(DiffError) -> Tensor
    /// Logits of states: [1, rows, width] to [1, rows, vocabulary], fresh.
    public let logits: (_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor

    /// A network of these two functions.
    public init(
        vocabulary: Int, states: @escaping (_ pass: MaskedPass, _ run: Run) throws(DiffError) -> Tensor,
        logits: @escaping (_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor
    ) {
        (self.vocabulary, self.states, self.logits) = (vocabulary, states, logits)
    }
}
