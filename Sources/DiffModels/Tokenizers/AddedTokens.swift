import DiffTensor

/// Tokens that are found in a text as they stand, before anything else happens to it.
struct AddedTokens: Sendable {
    /// One of them, as a tokenizer file describes it.
    struct Entry: Sendable, Equatable {
        let id: Int
        let content: String
        /// Left out when decoding without special tokens.
        let isSpecial: Bool
        /// Only between characters that are no letters or digits.
        let isSingleWord: Bool
        /// Takes white space before or behind it along.
        let stripsLeft: Bool, stripsRight: Bool
        /// Looked for in the normalised text.
        let isNormalised: Bool
    }

    let entries: [Entry]
    private let raw: Trie, normalised: Trie

    /// What a tokenizer file may add.
    static let maxEntries = 100_000, maxContent = 10_000

    init(_ entries: [Entry]) throws(DiffError) {
        guard entries.count <= Self.maxEntries else { throw DiffError(.format, "\(entries.count) added tokens") }
        var (raw, normalised) = (Trie(), Trie())
        for (position, entry) in entries.numbered {
            let scalars = entry.content.unicodeScalars.map(\.value)
            guard !scalars.isEmpty, scalars.count <= Self.maxContent else {
                throw DiffError(.format, "an added token of \(scalars.count) characters (id \(entry.id))")
            }
            if entry.isNormalised { normalised.insert(scalars, position) } else { raw.insert(scalars, position) }
        }
        (self.entries, self.raw, self.normalised) = (entries, raw, normalised)
    }

    /// A part of a text: an added token, or what lies between two.
    struct Part {
        let range: Range<Int>
        let token: Int?
    }

    /// `text` in parts, by the tokens that are looked for in raw or in normalised text: the leftmost, and the longest there.
    func split(_ text: ArraySlice<UInt32>, normalised isNormalised: Bool) -> [Part] {
        let trie = isNormalised ? normalised : raw
        guard !trie.isEmpty else { return [Part(range: text.indices, token: nil)] }
        var parts: [Part] = []
        var (open, position) = (text.startIndex, text.startIndex)
        while position < text.endIndex {
            guard let match = trie.longest(in: text, at: position), let entry = entries.at(match.entry) else {
                position &+= 1
                continue
            }
            var range = position..<match.end
            if entry.isSingleWord, isWord(text, position &- 1) || isWord(text, match.end) {
                position = match.end
                continue
            }
            if entry.stripsLeft {
                var start = range.lowerBound
                while start > open, isSpace(text, start &- 1) { start &-= 1 }
                range = start..<range.upperBound
            }
            if entry.stripsRight {
                var end = range.upperBound
                while end < text.endIndex, isSpace(text, end) { end &+= 1 }
                range = range.lowerBound..<end
            }
            if open < range.lowerBound { parts.append(Part(range: open..<range.lowerBound, token: nil)) }
            parts.append(Part(range: range, token: entry.id))
            (open, position) = (range.upperBound, range.upperBound)
        }
        if open < text.endIndex { parts.append(Part(range: open..<text.endIndex, token: nil)) }
        return parts
    }

    private func scalar(_ text: ArraySlice<UInt32>, _ index: Int) -> Unicode.Scalar? {
        text.indices.contains(index) ? Unicode.Scalar(text[index]) : nil
    }

    private func isSpace(_ text: ArraySlice<UInt32>, _ index: Int) -> Bool {
        scalar(text, index)?.properties.isWhitespace ?? false
    }

    private static let word = ScalarSet([.word])
    private func isWord(_ text: ArraySlice<UInt32>, _ index: Int) -> Bool {
        scalar(text, index).map { Self.word.contains($0.value) } ?? false
    }
}

/// Texts by their scalars.
private struct Trie: Sendable {
    private struct Node: Sendable {
        var children: [UInt32: Int] = [:]
        var entry: Int?
    }

    private var nodes = [Node()]

    var isEmpty: Bool { nodes.count == 1 }

    mutating func insert(_ text: [UInt32], _ entry: Int) {
        var at = 0
        for scalar in text.each {
            if let child = nodes.at(at)?.children[scalar] {
                at = child
                continue
            }
            let child = nodes.count
            nodes.append(Node())
            if nodes.indices.contains(at) { nodes[at].children.put(child, for: scalar) }
            at = child
        }
        if nodes.indices.contains(at) { nodes[at].entry = entry }
    }

    func longest(in text: ArraySlice<UInt32>, at start: Int) -> (entry: Int, end: Int)? {
        var (at, position): (Int, Int) = (0, start)
        var found: (entry: Int, end: Int)?
        while position < text.endIndex, let child = nodes.at(at)?.children[text[position]] {
            (at, position) = (child, position &+ 1)
            if let entry = nodes.at(at)?.entry { found = (entry, position) }
        }
        return found
    }
}
