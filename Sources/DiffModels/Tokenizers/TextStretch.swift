import DiffTensor

/// A stretch of a text of scalars: what `ArraySlice` is, without checks that end the process. Places count from the beginning of the
/// whole text.
struct TextStretch: Sequence, Sendable {
    private let text: [UInt32]
    /// 0 <= start <= end <= the length of the text.
    let start: Int, end: Int

    /// All of `text`.
    init(_ text: [UInt32]) { (self.text, start, end) = (text, 0, text.count) }

    /// What of `range` lies in `text`.
    init(_ text: [UInt32], _ range: Range<Int>) {
        self.text = text
        end = Swift.min(Swift.max(0, range.upperBound), text.count)
        start = Swift.min(Swift.max(0, range.lowerBound), end)
    }

    var count: Int { end &- start }
    var isEmpty: Bool { start >= end }

    /// The scalar at a place; nil outside of the stretch.
    func at(_ place: Int) -> UInt32? { place >= start && place < end ? Self.scalar(text, place) : nil }

    /// What lies in `range`.
    func part(_ range: Range<Int>) -> TextStretch {
        TextStretch(text, .ordered(Swift.max(start, range.lowerBound), Swift.min(end, range.upperBound)))
    }

    /// The scalars by themselves.
    var scalars: [UInt32] {
        var scalars: [UInt32] = []
        scalars.reserveCapacity(count)
        for scalar in self { scalars.append(scalar) }
        return scalars
    }

    /// Whether these are just `scalars`.
    func equals(_ scalars: [UInt32]) -> Bool {
        guard scalars.count == count else { return false }
        var place = start
        for scalar in self {
            guard Self.scalar(scalars, place &- start) == scalar else { return false }
            place &+= 1
        }
        return true
    }

    func makeIterator() -> Iterator { Iterator(text: text, place: start, end: end) }

    struct Iterator: IteratorProtocol {
        fileprivate let text: [UInt32]
        fileprivate var place: Int
        fileprivate let end: Int

        mutating func next() -> UInt32? {
            guard place < end, let scalar = TextStretch.scalar(text, place) else { return nil }
            place &+= 1
            return scalar
        }
    }

    /// Not by ``Swift/Array/at(_:)``: in long functions the optimiser reads the length again for the array's own check and keeps it.
    fileprivate static func scalar(_ text: [UInt32], _ place: Int) -> UInt32? {
        unsafe text.withUnsafeBufferPointer { place >= 0 && place < $0.count ? unsafe $0[place] : nil }
    }
}

extension Range where Bound == Int {
    /// From `start` up to `end`; empty where that lies before.
    static func ordered(_ start: Int, _ end: Int) -> Range { start..<Swift.max(start, end) }

    /// How many places these are.
    var length: Int { upperBound &- lowerBound }
}

extension String {
    /// Its UTF-8. `Array(utf8)` leaves checks of the array's own growth where it is inlined.
    var bytes: [UInt8] {
        @inline(never) get {
            var text = self
            return text.withUTF8 { unsafe Array($0) }
        }
    }

    /// The values of its scalars.
    var scalarValues: [UInt32] {
        @inline(never) get {
            var values: [UInt32] = []
            for scalar in unicodeScalars { values.append(scalar.value) }
            return values
        }
    }
}
