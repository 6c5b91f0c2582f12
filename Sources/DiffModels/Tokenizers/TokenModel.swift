import DiffTensor

/// How the words of a text become tokens.
enum TokenModel: Sendable {
    /// Byte pairs, of the words that patterns cut.
    case bytePairs(BytePairModel, PreTokenizer)
    /// Pieces, of the words that begin with marks.
    case unigram(UnigramModel, SpaceMarks)
}

/// How tokens become a text.
enum TokenDecoder: Sendable {
    /// By the byte alphabet; `wordEnd`, where it is not empty, stands for a space.
    case byteLevel(wordEnd: String)
    /// Piece by piece.
    case pieces(PieceDecoder)

    /// The bytes that a token of the vocabulary stands for, or the token as it is written where that depends on its neighbours.
    func content(of token: String) -> [UInt8] {
        switch self {
        case .byteLevel(let wordEnd): ByteAlphabet.decoded(token, wordEnd: wordEnd)
        case .pieces: token.bytes
        }
    }

    /// The bytes of the text of tokens with these contents.
    func decoded(_ contents: [[UInt8]]) -> [UInt8] {
        switch self {
        case .byteLevel(let wordEnd):
            let bytes = contents.flattened { $0 }
            return wordEnd.isEmpty ? bytes : Self.trimmed(bytes)
        case .pieces(let decoder): return decoder.decoded(contents)
        }
    }

    /// Without white space at both ends: the last word ends in a space too.
    private static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
        func isBlank(_ byte: UInt8?) -> Bool { byte.map { $0 == 32 || (9...13).contains($0) } ?? false }
        var (start, end) = (0, bytes.count)
        while isBlank(bytes.at(start)) { start &+= 1 }
        while end > start, isBlank(bytes.at(end &- 1)) { end &-= 1 }
        return Indices(below: end &- start).map { bytes.at(start &+ $0) ?? 0 }
    }
}
