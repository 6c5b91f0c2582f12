import DiffTensor

/// The fields of a protobuf message, read by hand: every length is checked against what encloses it.
struct ProtobufReader {
    /// What a field holds.
    enum Value {
        case integer(UInt64)
        case word(UInt32)
        /// A text, a message or bytes: a range of the file.
        case bytes(Range<Int>)
        /// Eight bytes, which no field here has.
        case other
    }

    private let file: [UInt8]
    private let place: String
    private var position: Int
    private let end: Int

    /// The message in `range` of `file`; nil: all of it.
    init(_ file: [UInt8], _ range: Range<Int>? = nil, place: String) {
        (self.file, self.place) = (file, place)
        position = max(0, range?.lowerBound ?? 0)
        end = min(file.count, range?.upperBound ?? file.count)
    }

    /// The next field and its number; nil at the end. Throws `format`.
    mutating func next() throws(DiffError) -> (field: Int, value: Value)? {
        guard position < end else { return nil }
        let tag = try varint()
        guard let field = Int(exactly: tag >> 3), field > 0 else { throw bad("a field without a number") }
        switch tag & 7 {
        case 0: return (field, .integer(try varint()))
        case 1:
            _ = try take(8)
            return (field, .other)
        case 2:
            guard let count = Int(exactly: try varint()) else { throw bad("a length beyond the file") }
            return (field, .bytes(try take(count)))
        case 5:
            var word: UInt32 = 0
            let range = try take(4)
            for offset in Indices(below: 4) {
                word |= UInt32(file.at(range.lowerBound &+ offset) ?? 0) << UInt32(truncatingIfNeeded: 8 &* offset)
            }
            return (field, .word(word))
        default: throw bad("a field of an unknown kind")
        }
    }

    /// The bytes of a range that a field gave.
    func bytes(_ range: Range<Int>) -> [UInt8] {
        Indices(below: range.length).map { file.at(range.lowerBound &+ $0) ?? 0 }
    }

    private mutating func varint() throws(DiffError) -> UInt64 {
        var (value, shift): (UInt64, UInt64) = (0, 0)
        while shift < 70 {
            guard position < end, let byte = file.at(position) else { throw bad("a number without an end") }
            position &+= 1
            value |= UInt64(byte & 0x7f) &<< shift
            if byte & 0x80 == 0 { return value }
            shift &+= 7
        }
        throw bad("a number of more than ten bytes")
    }

    private mutating func take(_ count: Int) throws(DiffError) -> Range<Int> {
        guard count >= 0, count <= end &- position else {
            throw bad("\(count) bytes where \(end &- position) are left")
        }
        let start = position
        position &+= count
        return .ordered(start, position)
    }

    private func bad(_ what: String) -> DiffError {
        DiffError(.format, "\(place): byte \(position): \(what): not a SentencePiece model, or cut off: fetch it again")
    }
}
