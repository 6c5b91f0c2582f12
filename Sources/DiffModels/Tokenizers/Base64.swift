import DiffTensor

/// Bytes written in 64 characters (RFC 4648).
enum Base64 {
    /// The bytes; nil for other characters, a length that is no multiple of four or padding elsewhere than at the end.
    static func decoded(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var (bits, count, padding): (UInt32, Int, Int) = (0, 0, 0)
        var length = 0
        for letter in text.bytes.each {
            length &+= 1
            guard let value = value(letter) else {
                guard letter == UInt8(ascii: "="), padding < 2 else { return nil }
                padding &+= 1
                continue
            }
            guard padding == 0 else { return nil }
            (bits, count) = (bits << 6 | value, count &+ 6)
            guard count >= 8 else { continue }
            count &-= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(truncatingIfNeeded: count)))
        }
        return length % 4 == 0 ? bytes : nil
    }

    private static func value(_ letter: UInt8) -> UInt32? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(letter &- 65)
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(letter &- 71)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(letter &+ 4)
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
