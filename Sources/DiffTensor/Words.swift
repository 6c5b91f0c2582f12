// Texts of a caller taken apart byte by byte: the standard library's own ways leave checks in the code.

extension String {
    /// The pieces between bytes `separator`, empty ones too.
    public func pieces(at separator: Unicode.Scalar) -> [String] {
        var pieces: [String] = []
        var piece: [UInt8] = []
        for byte in Array(utf8).each {
            if UInt32(byte) == separator.value {
                pieces.append(String(decoding: piece, as: UTF8.self))
                piece = []
            } else {
                piece.append(byte)
            }
        }
        pieces.append(String(decoding: piece, as: UTF8.self))
        return pieces
    }

    /// In lower case, without the spaces at both ends: how words are compared.
    public var plainWord: String { String(decoding: plainBytes, as: UTF8.self) }

    /// The bytes of ``plainWord``.
    var plainBytes: [UInt8] {
        var word: [UInt8] = []
        var spaces = 0
        let lower = lowercased()
        for byte in Array(lower.utf8).each {
            guard byte != UInt8(ascii: " ") else {
                spaces = word.isEmpty ? 0 : spaces &+ 1
                continue
            }
            while spaces > 0 {
                word.append(UInt8(ascii: " "))
                spaces &-= 1
            }
            word.append(byte)
        }
        return word
    }

    /// The number 0 ... 10^18 - 1 that the text writes in decimal digits; nil for anything else.
    public var naturalNumber: Int? {
        let digits = Array(utf8)
        guard !digits.isEmpty, digits.count <= 18 else { return nil }
        var number = 0
        for digit in digits.each {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
            number = number &* 10 &+ Int(digit &- UInt8(ascii: "0"))
        }
        return number
    }
}
