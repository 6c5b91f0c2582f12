/// The words and the single signs of a JSON text that stand outside of strings.
@safe struct JSONWords {
    /// Bytes `start ..< end` of the text.
    struct Word {
        let start: Int
        let end: Int
    }

    private let text: UnsafeRawBufferPointer
    private var position = 0
    private var (last, before): (UInt8, UInt8) = (0, 0)

    /// The words of `text`, which need not be JSON at all.
    init(_ text: UnsafeRawBufferPointer) { unsafe self.text = text }

    /// Whether the sign before the last one that was given is a comma.
    var isBehindComma: Bool { before == UInt8(ascii: ",") }

    /// The next one.
    mutating func next() -> Word? {
        while unsafe position < text.count {
            let start = position
            let byte = unsafe text[start]
            position &+= 1
            switch byte {
            case 0x20, 0x09, 0x0a, 0x0d: continue
            case UInt8(ascii: "\""):
                skipString()
                (before, last) = (last, byte)
            case _ where Self.isLetter(byte):
                while unsafe position < text.count, unsafe Self.isLetter(text[position]) { position &+= 1 }
                (before, last) = (last, byte)
                return Word(start: start, end: position)
            default:
                (before, last) = (last, byte)
                return Word(start: start, end: position)
            }
        }
        return nil
    }

    private mutating func skipString() {
        while unsafe position < text.count {
            let byte = unsafe text[position]
            position &+= byte == UInt8(ascii: "\\") ? 2 : 1
            if byte == UInt8(ascii: "\"") { return }
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "_"), 0x80...:
            true
        default: false
        }
    }
}
