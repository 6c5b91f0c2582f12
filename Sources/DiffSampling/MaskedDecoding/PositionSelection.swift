public import DiffTensor

/// A method that decides which positions masked decoding computes: a cache of keys and values is such a rule.
///
/// A pass computes keys and values of the *query positions* only; every other position takes part with those of the last pass that computed
/// it, which the network's key-value memory holds. Keys are stored after their rotation by position, so nothing is reordered. Asked where
/// the method's ``DiffTensor/HookSet/extensions`` say so, of the methods in order.
public protocol PositionSelection: Acceleration {
    /// Whether the order in which a block's positions are revealed must be decided when the block begins:
    /// ``UnmaskingRound/revealing`` is then known. Asked once, after `begin`.
    var fixesOrder: Bool { get }
    /// Drops from `queries`, which holds all positions or what earlier methods left, those that the next pass does not compute. Asked
    /// once per sequence and pass.
    func selectQueries(_ round: UnmaskingRound, _ queries: inout PositionSet) throws(DiffError)
}

extension PositionSelection {
    /// Any order will do.
    public var fixesOrder: Bool { false }
}

/// Where one sequence stands before a pass of masked decoding: all that a rule for the query positions may ask.
public struct UnmaskingRound: Sendable {
    /// Number of the sequence in the batch.
    public let sample: Int
    /// Passes this sequence has made, over all and since its block began. A rule's state belongs to a block.
    public let step: Int, stepInBlock: Int
    /// Positions of the block being decoded; the whole generated part where there are no blocks.
    public let block: Range<Int>
    /// Positions that hold the mask token.
    public let masked: PositionSet
    /// Positions revealed by the step before, and those this step will reveal where that is known beforehand, in order.
    public let revealed: [Int], revealing: [Int]
    /// Whether the results of position p decide the token of position p + 1 (Dream) rather than that of p (LLaDA). Then position p must be
    /// computed while p + 1 is masked, even when its own token is decided.
    public let predictsNext: Bool

    /// The facts of a round.
    public init(
        sample: Int, step: Int, stepInBlock: Int, block: Range<Int>, masked: PositionSet, revealed: [Int],
        revealing: [Int], predictsNext: Bool
    ) {
        (self.sample, self.step, self.stepInBlock, self.block) = (sample, step, stepInBlock, block)
        (self.masked, self.revealed, self.revealing) = (masked, revealed, revealing)
        self.predictsNext = predictsNext
    }

    /// The query positions that `methods` leave of all. Throws what they throw, `internal` for positions of another sequence.
    func queries(_ methods: [any PositionSelection]) throws(DiffError) -> PositionSet {
        var queries = PositionSet(all: masked.length)
        for method in methods.each { try method.selectQueries(self, &queries) }
        guard queries.length == masked.length else {
            throw DiffError(.internal, "a rule for \(masked.length) positions gave some of \(queries.length)")
        }
        return queries
    }
}
