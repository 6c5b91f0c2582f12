/// One sample's share of a pass over a set of positions: which places of its canvas are fed, and where results are wanted.
///
/// A sample's *canvas* is its prompt and the part being generated, of fixed length; a *place* is a position on it. The pass computes
/// keys and values of the fed places only; every other place counts with the ones it got when it was last fed.
public struct FedSample: Sendable, Equatable {
    /// The sample's slot in the memory of keys and values.
    public let slot: Int
    /// Fed places, ascending.
    public let places: [Int]
    /// The token at each fed place.
    public let tokens: [Int]
    /// Positions in `places` of the rows whose results are wanted, ascending.
    public let wanted: [Int]

    /// Throws `internal` unless `places` ascend, have a token each and contain what is wanted.
    public init(slot: Int, places: [Int], tokens: [Int], wanted: [Int]) throws(DiffError) {
        let ascend = Self.ascends(places, below: .max) && Self.ascends(wanted, below: places.count)
        guard ascend, places.count == tokens.count, slot >= 0 else {
            throw DiffError(
                .internal, "a feeding of \(places.count) places, \(tokens.count) tokens, \(wanted.count) wanted")
        }
        (self.slot, self.places, self.tokens, self.wanted) = (slot, places, tokens, wanted)
    }

    private static func ascends(_ values: [Int], below limit: Int) -> Bool {
        var last = -1
        for value in values.each {
            guard value > last, value < limit else { return false }
            last = value
        }
        return true
    }
}

/// What one pass feeds, sample by sample.
public struct Feeding: Sendable, Equatable {
    /// The samples that take part, in the order of their rows.
    public let samples: [FedSample]
    /// Fed rows, and rows wanted, of all samples.
    public let rows: Int, wanted: Int

    /// The shares of these samples.
    public init(_ samples: [FedSample]) {
        self.samples = samples
        rows = samples.each.reduce(0) { Checked.sum($0, $1.places.count) }
        wanted = samples.each.reduce(0) { Checked.sum($0, $1.wanted.count) }
    }

    /// All fed tokens, sample by sample.
    public var tokens: [Int] { samples.flatMap(\.tokens) }

    /// The wanted rows as positions among all fed rows.
    public var wantedRows: [Int] {
        var rows: [Int] = []
        var first = 0
        for sample in samples.each {
            for row in sample.wanted.each { rows.append(first &+ row) }
            first &+= sample.places.count
        }
        return rows
    }
}

/// Where one sample stands before a pass of masked decoding: all that a rule for the fed places may ask.
public struct UnmaskingRound: Sendable {
    /// Number of the sample in the batch.
    public let sample: Int
    /// Passes this sample has made, over all and since its block began. A rule's state belongs to a block.
    public let step: Int, stepInBlock: Int
    /// Places of the block being decoded; the whole generated part where there are no blocks.
    public let block: Range<Int>
    /// Per place, whether it holds the mask token.
    public let isMasked: [Bool]
    /// Places revealed by the step before, and those this step will reveal where that is known beforehand, in order.
    public let revealed: [Int], revealing: [Int]
    /// Whether the results of place p decide the token of place p + 1 (Dream) rather than that of p (LLaDA).
    public let predictsNext: Bool

    /// The facts of a round.
    public init(
        sample: Int, step: Int, stepInBlock: Int, block: Range<Int>, isMasked: [Bool], revealed: [Int],
        revealing: [Int], predictsNext: Bool
    ) {
        (self.sample, self.step, self.stepInBlock, self.block) = (sample, step, stepInBlock, block)
        (self.isMasked, self.revealed, self.revealing) = (isMasked, revealed, revealing)
        self.predictsNext = predictsNext
    }
}
