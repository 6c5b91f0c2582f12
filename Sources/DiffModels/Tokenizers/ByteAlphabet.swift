import DiffTensor

/// GPT-2's alphabet of bytes: each byte as a visible character, so that vocabularies are texts.
enum ByteAlphabet {
    /// The scalar of each byte.
    static let scalars: [UInt32] = {
        var scalars = [UInt32](repeating: 0, count: 256)
        var next: UInt32 = 256
        for byte in UInt32(0)..<256 {
            let isVisible = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
            scalars[Int(byte & 255)] = isVisible ? byte : next
            if !isVisible { next &+= 1 }
        }
        return scalars
    }()

    private static let bytes: [UInt32: UInt8] = {
        var bytes: [UInt32: UInt8] = [:]
        for (byte, scalar) in scalars.numbered { bytes.put(UInt8(truncatingIfNeeded: byte), for: scalar) }
        return bytes
    }()

    /// A byte as a token of its own, such as `<0x41>`, where a vocabulary has tokens for bytes.
    static func code(of byte: Int) -> [UInt8] {
        func digit(_ value: Int) -> UInt8 { UInt8(truncatingIfNeeded: value < 10 ? value &+ 48 : value &+ 55) }
        return [60, 48, 120, digit(byte >> 4 & 15), digit(byte & 15), 62]
    }

    /// The bytes that a token of a vocabulary stands for; its own UTF-8 when it is not in the alphabet. What is written behind the last
    /// letter of a word, `wordEnd`, stands for a space.
    static func decoded(_ token: String, wordEnd: String = "") -> [UInt8] {
        let ends = !wordEnd.isEmpty && token.hasSuffix(wordEnd)
        var (out, left): ([UInt8], Int) = ([], token.unicodeScalars.count)
        if ends { left &-= wordEnd.unicodeScalars.count }
        for scalar in token.unicodeScalars {
            guard left > 0 else { break }
            left &-= 1
            guard let byte = bytes[scalar.value] else { return Array(token.utf8) }
            out.append(byte)
        }
        if ends { out.append(32) }
        return out
    }
}
