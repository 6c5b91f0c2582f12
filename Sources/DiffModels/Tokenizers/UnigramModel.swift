import DiffTensor

/// Pieces with log-probabilities: a word becomes those whose sum is the largest.
///
/// Source: the tokenizers package, whose order of sums and comparisons is kept so that ties fall as they do there.
struct UnigramModel: Sendable {
    /// What a vocabulary may be: far above the largest published.
    static let maxPieces = 2_000_000, maxPieceBytes = 512

    private let trie: PieceTrie
    private let scores: [Double]
    private let unknown: Int
    /// What a character that no piece covers counts for.
    private let unknownScore: Double
    /// Tokens of single bytes, `<0x41>`; empty when characters are not taken apart.
    private let byteTokens: [Int?]
    private let controls: Set<Int>

    /// `pieces` by id. Words become `controls`, which are for added tokens, only where they may. Throws `format` for an empty
    /// vocabulary, one beyond the limits, scores that are not finite and an unknown token that is none.
    init(
        _ pieces: [(piece: String, score: Double)], unknown: Int, fallsBackToBytes: Bool, controls: Set<Int>
    ) throws(DiffError) {
        try Self.check(pieces, unknown)
        var (trie, scores, least) = (PieceTrie(), [Double](), Double.infinity)
        for (id, entry) in pieces.numbered {
            let bytes = entry.piece.bytes
            guard !bytes.isEmpty, bytes.count <= Self.maxPieceBytes, entry.score.isFinite else {
                throw DiffError(
                    .format,
                    "piece \(id) has \(bytes.count) bytes and the score \(entry.score); expected 1 to \(Self.maxPieceBytes) and a "
                        + "finite number")
            }
            trie.insert(bytes, id)
            scores.append(entry.score)
            least = min(least, entry.score)
        }
        var byteTokens: [Int?] = []
        for byte in Indices(below: fallsBackToBytes ? 256 : 0) {
            byteTokens.append(trie.piece(ByteAlphabet.code(of: byte)))
        }
        self.byteTokens = byteTokens
        (self.trie, self.scores, self.unknown, self.controls) = (trie, scores, unknown, controls)
        unknownScore = least - 10
    }

    @inline(never)
    private static func check(_ pieces: [(piece: String, score: Double)], _ unknown: Int) throws(DiffError) {
        guard !pieces.isEmpty, pieces.count <= maxPieces else {
            throw DiffError(.format, "a vocabulary of \(pieces.count) pieces; between 1 and \(maxPieces) are read")
        }
        guard unknown >= 0, unknown < pieces.count else {
            throw DiffError(.format, "the unknown token \(unknown) is outside 0..<\(pieces.count)")
        }
    }

    /// The best way to each byte of a word.
    private struct Path {
        var score: Double
        /// Where its last piece begins, and which that is.
        var start: Int32, piece: Int32

        static let none = Path(score: 0, start: -1, piece: 0)
    }

    /// The tokens of one word of UTF-8, in order; `takesControls`: whether a word may become one of a model's controls. Throws
    /// `cancelled`.
    func encode(
        _ word: [UInt8], takesControls: Bool, _ cancel: CancelFlag? = nil
    ) throws(DiffError) -> [TokenPiece] {
        let paths = try paths(word, takesControls, cancel)
        // From the end to the beginning, characters without a piece that stand side by side as one.
        var (pieces, end): ([(piece: Int, bytes: Range<Int>)], Int) = ([], word.count)
        while end > 0, let path = paths.at(end), path.start >= 0, Int(path.start) < end {
            let (start, piece) = (Int(path.start), Int(path.piece))
            if piece == unknown, let last = pieces.last, last.piece == unknown, last.bytes.lowerBound == end {
                pieces.put((piece, .ordered(start, last.bytes.upperBound)), at: pieces.count &- 1)
            } else {
                pieces.append((piece, .ordered(start, end)))
            }
            end = start
        }
        var tokens: [TokenPiece] = []
        for (piece, bytes) in pieces.reversed().each {
            if piece == unknown {
                append(unknown: word, bytes, to: &tokens)
            } else {
                tokens.append(TokenPiece(piece, bytes))
            }
        }
        return tokens
    }

    private func paths(
        _ word: [UInt8], _ takesControls: Bool, _ cancel: CancelFlag?
    ) throws(DiffError) -> [Path] {
        var paths = [Path](repeating: .none, count: word.count &+ 1)
        paths.put(Path(score: 0, start: 0, piece: 0), at: 0)
        func offer(_ end: Int, _ path: Path) {
            paths.update(at: end) { if $0.start < 0 || path.score > $0.score { $0 = path } }
        }
        var (position, steps) = (0, 0)
        while position < word.count, let byte = word.at(position), let here = paths.at(position) {
            let start = Int32(truncatingIfNeeded: position)
            let character = min(Self.width(byte), word.count &- position)
            var (node, end, isCovered) = (PieceTrie.root, position, false)
            while let next = word.at(end).flatMap({ trie.child(of: node, $0) }) {
                (node, end, steps) = (next, end &+ 1, steps &+ 1)
                if steps & 0xfffff == 0 { try cancel?.check() }
                guard let piece = trie.piece(at: node), takesControls || !controls.contains(piece),
                    let score = scores.at(piece)
                else { continue }
                offer(end, Path(score: here.score + score, start: start, piece: Int32(truncatingIfNeeded: piece)))
                if end &- position == character { isCovered = true }
            }
            if !isCovered {
                offer(
                    position &+ character,
                    Path(
                        score: here.score + unknownScore, start: start, piece: Int32(truncatingIfNeeded: unknown)))
            }
            position &+= character
            if position & 0xffff == 0 { try cancel?.check() }
        }
        return paths
    }

    /// Bytes of the character that begins with `byte`.
    private static func width(_ byte: UInt8) -> Int { byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4 }

    /// The tokens of characters without a piece: those of their bytes when all are there.
    private func append(unknown word: [UInt8], _ bytes: Range<Int>, to tokens: inout [TokenPiece]) {
        // Together they may be a piece, one that counts for even less.
        if let piece = trie.piece(word, bytes), !controls.contains(piece) {
            tokens.append(TokenPiece(piece, bytes))
            return
        }
        var ids: [Int] = []
        var position = bytes.lowerBound
        while position < bytes.upperBound, let byte = word.at(position) {
            if let id = byteTokens.at(Int(byte)) ?? nil { ids.append(id) }
            position &+= 1
        }
        guard ids.count == bytes.length else {
            tokens.append(TokenPiece(unknown, bytes))
            return
        }
        for id in ids.each { tokens.append(TokenPiece(id, bytes)) }
    }
}
