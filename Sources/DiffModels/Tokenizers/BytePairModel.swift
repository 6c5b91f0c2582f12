import DiffTensor

/// Byte-pair encoding: a vocabulary and the order in which neighbours are joined.
struct BytePairModel: Sendable {
    /// A pair's position in that order, and what the two become.
    private struct Merge: Sendable {
        let rank: Int32, token: Int32
    }

    /// What a vocabulary may be: far above the largest published.
    static let maxTokens = 2_000_000

    private let ids: [[UInt8]: Int]
    private let merges: [UInt64: Merge]
    private let controls: Set<Int>
    /// Token of each single byte, through the byte alphabet; nil: none.
    private let byteTokens: [Int?]
    /// The same for the last byte of a word.
    private let endTokens: [Int?]
    /// Tokens for bytes that have none: `<0x41>`.
    private let fallback: [Int?]
    private let unknown: Int?
    private let fusesUnknown: Bool
    private let takesWholeWords: Bool
    /// What is written behind the last letter of a word, such as `</w>`; mostly nothing.
    let wordEnd: String

    /// `vocabulary` holds ids by token; `merges` pairs of tokens in order. Throws `format` for ids outside 0..<2^31 and for a merge
    /// whose parts or result the vocabulary lacks. No word becomes one of `controls`, which are for added tokens alone.
    init(
        vocabulary: [(token: String, id: Int)], merges: [(String, String)], controls: Set<Int> = [], unknown: String?,
        fusesUnknown: Bool, fallsBackToBytes: Bool, takesWholeWords: Bool, wordEnd: String = ""
    ) throws(DiffError) {
        guard vocabulary.count <= Self.maxTokens, merges.count <= Self.maxTokens else {
            throw DiffError(.format, "a vocabulary of \(vocabulary.count) tokens and \(merges.count) merges")
        }
        ids = try Self.ids(vocabulary)
        self.merges = try Self.table(merges, ids, controls)
        byteTokens = Self.letters(ids, wordEnd: "")
        endTokens = wordEnd.isEmpty ? byteTokens : Self.letters(ids, wordEnd: wordEnd)
        guard wordEnd.isEmpty || !fallsBackToBytes && !takesWholeWords else {
            throw DiffError(
                .unsupported,
                "an end_of_word_suffix together with byte_fallback or ignore_merges, which no published one has")
        }
        var fallback: [Int?] = []
        for byte in Indices(below: fallsBackToBytes ? 256 : 0) { fallback.append(ids[ByteAlphabet.code(of: byte)]) }
        self.fallback = fallback
        if let unknown {
            guard let id = ids[unknown.bytes] else {
                throw DiffError(.format, "the unknown token \"\(unknown)\" is not a token")
            }
            self.unknown = id
        } else {
            self.unknown = nil
        }
        self.controls = controls
        (self.fusesUnknown, self.takesWholeWords, self.wordEnd) = (fusesUnknown, takesWholeWords, wordEnd)
    }

    @inline(never)
    private static func ids(_ vocabulary: [(token: String, id: Int)]) throws(DiffError) -> [[UInt8]: Int] {
        var ids: [[UInt8]: Int] = [:]
        for entry in vocabulary.each {
            guard entry.id >= 0, entry.id < 1 << 31 else {
                throw DiffError(.format, "the token \"\(entry.token)\" has the id \(entry.id)")
            }
            ids.put(entry.id, for: entry.token.bytes)
        }
        return ids
    }

    @inline(never)
    private static func table(
        _ merges: [(String, String)], _ ids: [[UInt8]: Int], _ controls: Set<Int>
    ) throws(DiffError) -> [UInt64: Merge] {
        var table: [UInt64: Merge] = [:]
        for (rank, merge) in merges.numbered {
            let (left, right) = (merge.0.bytes, merge.1.bytes)
            var both = left
            for byte in right.each { both.append(byte) }
            guard let a = ids[left], let b = ids[right], let joined = ids[both] else {
                throw DiffError(
                    .format, "merge \(rank): \"\(merge.0)\" and \"\(merge.1)\" or both together are not tokens")
            }
            guard !controls.contains(joined) else { continue }
            // A pair that is there twice: the later entry counts, as in the published readers.
            table.put(
                Merge(rank: Int32(truncatingIfNeeded: rank), token: Int32(truncatingIfNeeded: joined)),
                for: key(Int32(truncatingIfNeeded: a), Int32(truncatingIfNeeded: b)))
        }
        return table
    }

    /// Tokens of single letters of the byte alphabet, with `wordEnd` behind.
    @inline(never)
    private static func letters(_ ids: [[UInt8]: Int], wordEnd: String) -> [Int?] {
        var tokens: [Int?] = []
        for scalar in ByteAlphabet.scalars.each {
            var letter: [UInt8] = []
            Tokenizer.append(scalar, to: &letter)
            for byte in wordEnd.bytes.each { letter.append(byte) }
            tokens.append(ids[letter])
        }
        return tokens
    }

    private static func key(_ a: Int32, _ b: Int32) -> UInt64 {
        UInt64(UInt32(truncatingIfNeeded: a)) << 32 | UInt64(UInt32(truncatingIfNeeded: b))
    }

    /// The tokens of one word, given as bytes, in order. Throws `cancelled`.
    func encode(_ word: [UInt8], _ cancel: CancelFlag? = nil) throws(DiffError) -> [TokenPiece] {
        if takesWholeWords, let token = ids[Self.name(word)], !controls.contains(token) {
            return [TokenPiece(token, 0..<word.count)]
        }
        var pieces: [TokenPiece] = []
        pieces.reserveCapacity(word.count)
        var unknownIsOpen = false
        for (position, byte) in word.numbered {
            let bytes = position..<(position &+ 1)
            let tokens = position == word.count &- 1 ? endTokens : byteTokens
            if let token = tokens.at(Int(byte)) ?? nil {
                pieces.append(TokenPiece(token, bytes))
                unknownIsOpen = false
            } else if let tokens = fallback(byte) {
                for token in tokens.each { pieces.append(TokenPiece(token, bytes)) }
                unknownIsOpen = false
            } else if let unknown {
                if unknownIsOpen, fusesUnknown, !pieces.isEmpty {
                    pieces.update(at: pieces.count &- 1) { $0.end &+= 1 }
                } else {
                    pieces.append(TokenPiece(unknown, bytes))
                }
                unknownIsOpen = true
            }
        }
        return pieces.count < 2 ? pieces : try joined(pieces, cancel)
    }

    /// A word in the letters of the byte alphabet, as UTF-8.
    private static func name(_ word: [UInt8]) -> [UInt8] {
        var name: [UInt8] = []
        for byte in word.each {
            guard let scalar = ByteAlphabet.scalars.at(Int(byte)) else { continue }
            Tokenizer.append(scalar, to: &name)
        }
        return name
    }

    /// The tokens of the bytes of the letter that stands for `byte`; nil unless all are there.
    private func fallback(_ byte: UInt8) -> [Int]? {
        guard let scalar = ByteAlphabet.scalars.at(Int(byte)) else { return nil }
        var (letters, tokens): ([UInt8], [Int]) = ([], [])
        Tokenizer.append(scalar, to: &letters)
        for letter in letters.each {
            guard let token = fallback.at(Int(letter)) ?? nil else { return nil }
            tokens.append(token)
        }
        return tokens
    }

    /// Joins neighbours, the earliest merge first and the leftmost of equals; time n log n, since a word may be a whole file.
    private func joined(_ pieces: [TokenPiece], _ cancel: CancelFlag?) throws(DiffError) -> [TokenPiece] {
        var pieces = pieces
        let count = pieces.count
        var next = Indices(below: count).map { Int32(truncatingIfNeeded: $0 &+ 1) }
        var previous = Indices(below: count).map { Int32(truncatingIfNeeded: $0 &- 1) }
        var heap = MergeHeap()
        func push(_ left: Int, _ heap: inout MergeHeap) {
            guard let right = next.at(left), let a = pieces.at(left), let b = pieces.at(Int(right)),
                let merge = merges[Self.key(a.token, b.token)]
            else { return }
            heap.push(
                MergeHeap.Entry(rank: merge.rank, position: Int32(truncatingIfNeeded: left), token: merge.token))
        }
        for left in Indices(below: count &- 1) { push(left, &heap) }
        var turns = 0
        while let entry = heap.pop() {
            turns &+= 1
            if turns & 0xfff == 0 { try cancel?.check() }
            let left = Int(entry.position)
            // What was joined meanwhile no longer is what the entry speaks of.
            guard let a = pieces.at(left), a.token >= 0, let right = next.at(left), let b = pieces.at(Int(right)),
                let merge = merges[Self.key(a.token, b.token)], merge.token == entry.token
            else { continue }
            pieces.put(TokenPiece(merge.token, a, b), at: left)
            pieces.update(at: Int(right)) { $0.token = -1 }
            let after = next.at(Int(right)) ?? Int32(truncatingIfNeeded: count)
            next.put(after, at: left)
            previous.put(entry.position, at: Int(after))
            if let before = previous.at(left), before >= 0 { push(Int(before), &heap) }
            push(left, &heap)
        }
        return pieces.filter { $0.token >= 0 }
    }
}

/// Pairs that may be joined, the next one on top.
private struct MergeHeap {
    struct Entry {
        let rank: Int32, position: Int32, token: Int32

        func precedes(_ other: Entry) -> Bool {
            rank != other.rank ? rank < other.rank : position < other.position
        }
    }

    private var entries: [Entry] = []

    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count &- 1
        while child > 0 {
            let parent = (child &- 1) / 2
            guard let a = entries.at(child), let b = entries.at(parent), a.precedes(b) else { return }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> Entry? {
        guard let top = entries.first, let last = entries.popLast() else { return nil }
        guard !entries.isEmpty else { return top }
        entries.put(last, at: 0)
        var parent = 0
        while true {
            var least = parent
            for child in [2 &* parent &+ 1, 2 &* parent &+ 2] {
                if let a = entries.at(child), let b = entries.at(least), a.precedes(b) { least = child }
            }
            guard least != parent else { return top }
            entries.swapAt(least, parent)
            parent = least
        }
    }
}
