import DiffTensor

/// One step of a pattern's machine.
enum PatternInstruction: Sendable {
    /// One scalar of a set.
    case set(Int)
    /// `least` to `most` scalars of a set, as many as possible; without giving any back when possessive.
    case run(Int, least: Int, most: Int, isPossessive: Bool)
    /// Goes on at the first place, or at the second when that fails; the other way round when `prefersSecond`.
    case split(Int, Int, prefersSecond: Bool)
    case jump(Int)
    /// Remembers where a turn of a loop begins.
    case mark(Int)
    /// Begins the next turn, or leaves the loop when the last one consumed nothing.
    case advance(Int, slot: Int)
    /// What stands between here and `end` must match here (or must not), and is not consumed.
    case look(end: Int, isNegative: Bool)
    /// What stands between here and `end` must match `least` to `most` scalars that end here (or must not).
    case behind(end: Int, least: Int, most: Int, isNegative: Bool)
    /// What stands between here and `end` matches in its first way or not at all.
    case atomic(end: Int)
    case anchor(PatternNode.Anchor)
    case match
}

/// A pattern as instructions.
struct PatternProgram: Sendable {
    let instructions: [PatternInstruction]
    let sets: [ScalarSet]
    /// Loops that remember where their turn began.
    let slots: Int

    /// All matches of the pattern in a part of `text`, which is a text of its own, from left to right, empty ones included, as
    /// Oniguruma's callers find them: none overlap, and no empty one directly follows another match.
    ///
    /// Throws `unsupported` when the pattern takes too long, `cancelled`.
    func matches(
        in text: [UInt32], _ range: Range<Int>, _ work: inout PatternWork
    ) throws(DiffError) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var matcher = PatternMatcher(self, text, range)
        var (start, last) = (range.lowerBound, -1)
        while start <= range.upperBound {
            guard let end = try matcher.end(from: start, &work) else {
                start &+= 1
                continue
            }
            if end == start, end == last {
                start &+= 1
            } else {
                found.append(start..<end)
                (start, last) = (end, end)
            }
        }
        return found
    }
}
