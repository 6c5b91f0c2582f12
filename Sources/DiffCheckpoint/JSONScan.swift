/// Counts of a JSON text, taken in one pass that allocates nothing and looks only at its punctuation.
///
/// The parser proper recurses and spends up to a hundred bytes on each value. These counts are upper bounds for any
/// text it can accept, so what would be too deep or too large is refused before the parser sees it.
struct JSONScan {
    private(set) var depth = 0
    /// Values at all levels: each one is first in its container (or the root) or follows a comma.
    var values: Int { commas &+ arrays &+ objects &+ 1 }
    /// Whether some integer is written `-0`, which no later stage can tell from `0`.
    private(set) var hasNegativeZero = false

    private var commas = 0
    private var arrays = 0
    private var objects = 0
    private var members = 0
    private var strings = 0
    private var stringBytes = 0
    /// Bytes of the longest string or number, its closing quote included.
    private var longest = 0
    private let textBytes: Int

    /// Scans `text`, which need not be JSON at all.
    init(_ text: UnsafeRawBufferPointer) {
        textBytes = text.count
        var level = 0
        var (string, word) = (0, 0)
        var (inString, escaped) = (false, false)
        // The last two bytes outside strings, to see `-0` followed by something that is not part of a number.
        var (before, last): (UInt8, UInt8) = (0, 0)
        var bytes = unsafe text.makeIterator()
        while let byte = unsafe bytes.next() {
            if inString {
                string &+= 1
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                    stringBytes &+= string
                    longest = max(longest, string)
                }
                continue
            }
            if last == UInt8(ascii: "0"), before == UInt8(ascii: "-"), !Self.continuesNumber(byte) {
                hasNegativeZero = true
            }
            (before, last) = (last, byte)
            word = Self.continuesNumber(byte) ? word &+ 1 : 0
            longest = max(longest, word)
            switch byte {
            case UInt8(ascii: "\""):
                (inString, string) = (true, 0)
                strings &+= 1
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                if byte == UInt8(ascii: "[") { arrays &+= 1 } else { objects &+= 1 }
                level &+= 1
                depth = max(depth, level)
            case UInt8(ascii: "]"), UInt8(ascii: "}"): level &-= 1
            case UInt8(ascii: ":"): members &+= 1
            case UInt8(ascii: ","): commas &+= 1
            default: break
            }
        }
        if inString {
            stringBytes &+= string
            longest = max(longest, string)
        }
    }

    /// Letters that make the parser's buffer large enough for everything in the text: see `json_load_padded`.
    var padding: Int { (longest &+ 511) / 512 &* 512 &+ 512 }

    private static func continuesNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): true
        default: false
        }
    }

    /// An upper bound of the bytes that the text, the parser's tree and ours take together.
    ///
    /// Block sizes of the parser (64-bit, with the allocator's overhead) and of Swift's containers at their least
    /// favourable fill. Each count is at most the text's length (100 MB by `JSON.Limits`), so that no sum or product
    /// can overflow; the wrapping operators only keep the checks out of the loop.
    var memory: Int {
        let perValue = 32 + 24 + 40  // number block; slot of a growing pointer table; our slot
        let perString = 80 + 48  // string block and its bytes' block; our heap string
        let perArray = 128 + 48
        let perObject = 224 + 96
        // Pair block with the name; growing bucket table; our hash table at 3/8 fill; our heap string. More than a
        // string, so a colon that follows no name (in a text that will be refused) cannot lower the bound.
        let perMember = 96 + 48 + 112 + 48
        return textBytes &+ values &* perValue &+ max(0, strings &- members) &* perString &+ members &* perMember
            &+ arrays &* perArray &+ objects &* perObject &+ 2 &* stringBytes &+ 4 &* padding
    }
}
