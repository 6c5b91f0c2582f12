/// The text `parameters` of PNG files: what a picture was made with, where programs of this field put it and look for it.
enum PNGText {
    private static let signature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
    private static let keyword = Array("parameters".utf8)
    /// The signature and the header, which comes first.
    private static let start = 8 + 12 + 13

    /// Whether `bytes` begin like a PNG file.
    static func isPNG(_ bytes: [UInt8]) -> Bool { bytes.starts(with: signature) }

    /// The PNG file `bytes` with `text` in it.
    static func inserting(_ text: String, into bytes: [UInt8]) -> [UInt8] {
        guard isPNG(bytes), bytes.count > start else { return bytes }
        let text = String(String.UnicodeScalarView(text.unicodeScalars.filter { $0 != "\0" }))
        var (kind, data) = (Array("tEXt".utf8), keyword + [0])
        if text.unicodeScalars.allSatisfy({ $0.value < 256 }) {
            data += text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
        } else {
            // Not compressed, of no language, without a translated keyword.
            (kind, data) = (Array("iTXt".utf8), data + [0, 0, 0, 0] + Array(text.utf8))
        }
        var chunk = bigEndian(UInt32(truncatingIfNeeded: data.count)) + kind + data
        chunk += bigEndian(checksum(kind + data))
        return Array(bytes[..<start]) + chunk + Array(bytes[start...])
    }

    /// The text in the PNG file `bytes`; nil when there is none.
    static func found(in bytes: [UInt8]) -> String? {
        guard isPNG(bytes) else { return nil }
        var at = 8
        while at + 12 <= bytes.count {
            let length = bytes[at..<at + 4].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - at - 12 else { return nil }
            let kind = String(decoding: bytes[at + 4..<at + 8], as: UTF8.self)
            if let text = text(kind, bytes[at + 8..<at + 8 + length]) { return text }
            at += 12 + length
        }
        return nil
    }

    private static func text(_ kind: String, _ data: ArraySlice<UInt8>) -> String? {
        guard kind == "tEXt" || kind == "iTXt", data.starts(with: keyword + [0]) else { return nil }
        let rest = data.dropFirst(keyword.count + 1)
        guard kind == "iTXt" else {
            return String(String.UnicodeScalarView(rest.map { Unicode.Scalar($0) }))
        }
        // Compressed texts, which no program writes here, are left alone.
        guard rest.count >= 2, rest.first == 0 else { return nil }
        let parts = rest.dropFirst(2).split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 ? String(decoding: parts[2], as: UTF8.self) : nil
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// The cyclic redundancy check of PNG.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
        }
        return ~crc
    }
}
