public import DiffTensor

/// Which tokens of each sample a pass of a MAR knows, and which it is asked about. All samples know as many, and are asked about as many.
public struct MARPass: Sendable {
    /// Positions whose tokens are known, by sample, ascending.
    public let known: [[Int]]
    /// Positions that are asked about, by sample, ascending; nil: all, in order.
    public let wanted: [[Int]]?
    /// The most tokens of a sample that a pass of the run asks about: passes that ask about fewer take the same memory.
    public let mostWanted: Int

    /// A pass of `known.count` samples of `tokens` tokens. Throws `invalidArgument` for positions that are not there, do not ascend or are not as
    /// many in each sample.
    public init(known: [[Int]], wanted: [[Int]]?, mostWanted: Int? = nil, tokens: Int) throws(DiffError) {
        for lists in [known, wanted ?? []] {
            let count = lists.at(0)?.count ?? 0
            for list in lists.each {
                var last = -1
                for position in list.each {
                    guard position > last, position < tokens else {
                        throw DiffError(
                            .invalidArgument, "positions must ascend below \(tokens), found \(position) after \(last)")
                    }
                    last = position
                }
                guard list.count == count else {
                    throw DiffError(
                        .invalidArgument, "samples with \(list.count) positions and with \(count)")
                }
            }
        }
        guard !known.isEmpty, wanted == nil || wanted?.count == known.count else {
            throw DiffError(
                .invalidArgument, "positions of \(known.count) samples, wanted ones of \(wanted?.count ?? 0)")
        }
        (self.known, self.wanted) = (known, wanted)
        self.mostWanted = max(mostWanted ?? 0, wanted?.first?.count ?? tokens)
    }

    /// Samples of the pass.
    public var samples: Int { known.count }
    /// Tokens of a sample that are known.
    public var knownCount: Int { known.first?.count ?? 0 }
    /// Tokens of a sample that are asked about; nil: all.
    public var wantedCount: Int? { wanted?.first?.count }
}
