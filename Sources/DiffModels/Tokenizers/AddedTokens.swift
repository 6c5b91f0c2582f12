import DiffTensor

/// Tokens that are found in a text as they stand, before anything else happens to it.
struct AddedTokens: Sendable {
    /// One of them, as a tokenizer file describes it.
    struct Entry: Sendable, Equatable {
        let id: Int
        let content: String
        /// Left out when decoding without special tokens; found in a text only when control tokens are allowed there.
        let isSpecial: Bool
        /// Only between characters that are no letters or digits.
        let isSingleWord: Bool
        /// Takes white space before or behind it along.
        let stripsLeft: Bool, stripsRight: Bool
        /// Looked for in the normalised text.
        let isNormalised: Bool
    }

    let entries: [Entry]
    private let raw: WordSearch, normalised: WordSearch

    /// What a tokenizer file may add.
    static let maxEntries = 100_000, maxContent = 10_000

    /// `normalizer` is applied to what is looked for in the normalised text.
    init(_ entries: [Entry], _ normalizer: Normalizer) throws(DiffError) {
        guard entries.count <= Self.maxEntries else { throw DiffError(.format, "\(entries.count) added tokens") }
        var (raw, normalised) = (WordSearch(), WordSearch())
        for (position, entry) in entries.numbered {
            let scalars = entry.content.scalarValues
            guard !scalars.isEmpty, scalars.count <= Self.maxContent else {
                throw DiffError(.format, "an added token of \(scalars.count) characters (id \(entry.id))")
            }
            if entry.isNormalised {
                normalised.insert(try normalizer.apply(TextStretch(scalars)).scalars, position)
            } else {
                raw.insert(scalars, position)
            }
        }
        raw.link()
        normalised.link()
        (self.entries, self.raw, self.normalised) = (entries, raw, normalised)
    }

    /// A part of a text: an added token, or what lies between two.
    struct Part {
        let range: Range<Int>
        let token: Int?
    }

    /// `text` in parts, by the tokens that are looked for in raw or in normalised text: the leftmost, and the longest there. What
    /// `isPlain` says is text like any other. Linear in the text. Throws `cancelled`.
    func split(
        _ text: TextStretch, normalised isNormalised: Bool, isPlain: (Entry, Range<Int>) -> Bool,
        _ cancel: CancelFlag?
    ) throws(DiffError) -> [Part] {
        let words = isNormalised ? normalised : raw
        var parts: [Part] = []
        var (open, position) = (text.start, text.start)
        for match in try words.matches(in: text, cancel).each where match.range.lowerBound >= position {
            guard let entry = entries.at(match.entry), !isPlain(entry, match.range) else { continue }
            // One that is no word hides what overlaps it, as in the published readers.
            position = match.range.upperBound
            var (start, end) = (match.range.lowerBound, match.range.upperBound)
            if entry.isSingleWord, isWord(text, start &- 1) || isWord(text, end) { continue }
            if entry.stripsLeft { while start > open, isSpace(text, start &- 1) { start &-= 1 } }
            if entry.stripsRight { while end < text.end, isSpace(text, end) { end &+= 1 } }
            // White space that the last one took is not there any more.
            start = max(start, open)
            end = max(start, end)
            if open < start { parts.append(Part(range: open..<start, token: nil)) }
            parts.append(Part(range: start..<end, token: entry.id))
            open = end
        }
        if open < text.end { parts.append(Part(range: open..<text.end, token: nil)) }
        return parts
    }

    private func isSpace(_ text: TextStretch, _ index: Int) -> Bool {
        text.at(index).map { ScalarSet.whitespace.contains($0) } ?? false
    }

    /// Unlike in patterns the two joiners are letters here: the published readers have another library for this.
    private func isWord(_ text: TextStretch, _ index: Int) -> Bool {
        text.at(index).map { ScalarSet.word.contains($0) || $0 == 0x200c || $0 == 0x200d } ?? false
    }
}

extension AddedTokens.Entry {
    /// One that is looked for as it is, anywhere in the text before it is normalised.
    init(id: Int, content: String, isSpecial: Bool) {
        self.init(
            id: id, content: content, isSpecial: isSpecial, isSingleWord: false, stripsLeft: false, stripsRight: false,
            isNormalised: false)
    }
}
