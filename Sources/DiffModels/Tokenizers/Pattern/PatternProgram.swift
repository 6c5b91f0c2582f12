import DiffCheckpoint
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

    init(instructions: [PatternInstruction], sets: [ScalarSet], slots: Int) {
        (self.instructions, self.sets, self.slots) = (instructions, sets, slots)
    }

    /// Reads a `pattern` of a tokenizer file: a regular expression, or a text that stands for itself. Throws `format`, `unsupported`.
    init(_ json: JSONObject) throws(DiffError) {
        if let pattern = try json.optionalString("Regex") {
            self = try locating(json.place) { () throws(DiffError) in try PatternParser.program(pattern) }
            return
        }
        // Every character stands for itself, and none for nothing.
        let text = try json.string("String")
        let sets = text.unicodeScalars.map { ScalarSet([.range($0.value, $0.value)]) }
        guard !sets.isEmpty else {
            self = try PatternParser.program("(?!)")
            return
        }
        self.init(instructions: sets.indices.map { .set($0) } + [.match], sets: sets, slots: 0)
    }

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
