/// A set of positions of one sequence, in ascending order: which tokens a pass computes, which of them are masked, whose results
/// are wanted.
public struct PositionSet: Sendable, Equatable {
    /// Tokens of the sequence: every position is in 0 ..< length.
    public let length: Int
    /// The positions, ascending.
    public private(set) var positions: [Int]

    /// All positions of a sequence of `length` tokens.
    public init(all length: Int) {
        self.length = max(0, length)
        positions = Array(Indices(below: length))
    }

    /// The positions of a sequence of `length` tokens that satisfy `condition`, which is asked in ascending order.
    public init(of length: Int, where condition: (Int) -> Bool) {
        self.length = max(0, length)
        positions = Indices(below: length).filter(condition)
    }

    /// These positions of a sequence of `length` tokens. Throws `internal` unless they ascend and lie in it.
    public init(_ positions: [Int], of length: Int) throws(DiffError) {
        var next = 0
        for position in positions.each {
            guard position >= next, position < length else {
                throw DiffError(.internal, "position \(position) after \(next &- 1) in a sequence of \(length) tokens")
            }
            next = position &+ 1
        }
        (self.length, self.positions) = (max(0, length), positions)
    }

    /// How many there are.
    public var count: Int { positions.count }
    /// Whether there is none.
    public var isEmpty: Bool { positions.isEmpty }

    /// Whether `position` is one of them.
    public func contains(_ position: Int) -> Bool {
        let rank = rank(of: position)
        return positions.at(rank) == position
    }

    /// How many positions stand before `position`: its rank, where it is one of them.
    private func rank(of position: Int) -> Int {
        var (low, high) = (0, positions.count)
        while low < high {
            let middle = low &+ (high &- low) / 2
            if (positions.at(middle) ?? .max) < position { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// Drops the positions that do not satisfy `condition`.
    public mutating func keep(where condition: (Int) -> Bool) {
        positions = positions.each.filter(condition)
    }

    /// The positions that satisfy `condition`.
    public func filter(_ condition: (Int) -> Bool) -> PositionSet {
        var kept = self
        kept.keep(where: condition)
        return kept
    }

    /// For each position of `subset` its rank among these; nil unless it is a subset of the same sequence.
    public func ranks(of subset: PositionSet) -> [Int]? {
        guard subset.length == length else { return nil }
        var ranks: [Int] = []
        var rank = 0
        for position in subset.positions.each {
            while let own = positions.at(rank), own < position { rank &+= 1 }
            guard positions.at(rank) == position else { return nil }
            ranks.append(rank)
        }
        return ranks
    }
}
