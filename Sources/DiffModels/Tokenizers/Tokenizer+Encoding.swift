public import DiffTensor

extension Tokenizer {
    /// Where the text of a control token is one.
    enum ControlTokens {
        case nowhere, everywhere
        /// Within one of these ranges of bytes, in order.
        case within([Range<Int>])

        func allows(_ bytes: Range<Int>) -> Bool {
            switch self {
            case .nowhere: return false
            case .everywhere: return true
            case .within(let ranges):
                // The last range that begins no later.
                var (low, high) = (0, ranges.count)
                while low < high {
                    let middle = (low &+ high) / 2
                    if (ranges.at(middle)?.lowerBound ?? .max) <= bytes.lowerBound {
                        low = middle &+ 1
                    } else {
                        high = middle
                    }
                }
                return ranges.at(low &- 1).map { bytes.upperBound <= $0.upperBound } ?? false
            }
        }
    }

    /// The tokens of `text`. `addsSpecial`: with what the tokenizer puts around a text. Control tokens such as `<|endoftext|>` are text
    /// like any other, so that user text cannot open a turn or insert masks, unless `allowsControl`.
    ///
    /// Throws `invalidArgument` for more than ``maxTextBytes``, `unsupported` when the tokenizer's pattern takes too long, `cancelled`.
    public func encode(
        _ text: String, addsSpecial: Bool = false, allowsControl: Bool = false, cancel: CancelFlag? = nil
    ) throws(DiffError) -> [Token] {
        try Self.check(text.utf8.count)
        return try encode(SourceText(text), addsSpecial, allowsControl ? .everywhere : .nowhere, cancel)
    }

    /// The same for bytes that are meant to be UTF-8: what is none counts as U+FFFD, and the tokens of that stand for just those bytes.
    public func encode(
        _ bytes: UnsafeRawBufferPointer, addsSpecial: Bool = false, allowsControl: Bool = false,
        cancel: CancelFlag? = nil
    ) throws(DiffError) -> [Token] {
        try Self.check(bytes.count)
        return try encode(unsafe SourceText(bytes), addsSpecial, allowsControl ? .everywhere : .nowhere, cancel)
    }

    /// The tokens of a conversation as `template` writes it. What was said is text without control tokens, unless `allowsControl`.
    /// The tokens' bytes are those of the rendered text. Throws as ``encode(_:addsSpecial:allowsControl:cancel:)-(String,_,_,_)``.
    public func encode(
        _ messages: [ChatTemplate.Message], as template: ChatTemplate, asksForAnswer: Bool = true,
        allowsControl: Bool = false, cancel: CancelFlag? = nil
    ) throws(DiffError) -> [Token] {
        var (text, written): ([UInt8], [Range<Int>]) = ([], [])
        let system = try template.system(in: chatTemplate)
        for part in template.parts(messages, asksForAnswer: asksForAnswer, system: system).each {
            let start = text.count
            for byte in part.text.bytes.each { text.append(byte) }
            try Self.check(text.count)
            guard !part.isContent else { continue }
            // What the template writes in a row is one range.
            if let last = written.last, last.upperBound == start {
                written.put(.ordered(last.lowerBound, text.count), at: written.count &- 1)
            } else {
                written.append(.ordered(start, text.count))
            }
        }
        let source = unsafe text.withUnsafeBytes { unsafe SourceText($0) }
        return try encode(source, false, allowsControl ? .everywhere : .within(written), cancel)
    }

    private static func check(_ bytes: Int) throws(DiffError) {
        guard bytes <= maxTextBytes else {
            throw DiffError(
                .invalidArgument, "a text of \(bytes) bytes; at most \(maxTextBytes) are encoded at once")
        }
    }

    private func encode(
        _ source: SourceText, _ addsSpecial: Bool, _ control: ControlTokens, _ cancel: CancelFlag?
    ) throws(DiffError) -> [Token] {
        var tokens: [Token] = []
        var end = 0
        for part in (addsSpecial ? template : [nil]).each {
            if let part {
                tokens.append(Token(id: part, bytes: end..<end))
            } else {
                try encode(source, control, into: &tokens, cancel)
                end = source.bytes(0..<source.scalars.count).upperBound
            }
        }
        return tokens
    }

    private func encode(
        _ source: SourceText, _ control: ControlTokens, into tokens: inout [Token], _ cancel: CancelFlag?
    ) throws(DiffError) {
        try cancel?.check()
        let parts = try added.split(
            TextStretch(source.scalars), normalised: false, isPlain: { isPlain($0, source.bytes($1), control) }, cancel)
        for part in parts.each {
            if let token = part.token {
                tokens.append(Token(id: token, bytes: source.bytes(part.range)))
                continue
            }
            let text = try normalizer.apply(TextStretch(source.scalars, part.range), cancel)
            let origin = { (range: Range<Int>) in
                source.bytes(text.origin(of: range, behind: part.range.lowerBound))
            }
            let pieces = try added.split(
                TextStretch(text.scalars), normalised: true, isPlain: { isPlain($0, origin($1), control) }, cancel)
            for piece in pieces.each {
                if let token = piece.token {
                    tokens.append(Token(id: token, bytes: origin(piece.range)))
                } else {
                    try encode(TextStretch(text.scalars, piece.range), control, into: &tokens, cancel, origin)
                }
            }
        }
    }

    private func isPlain(_ entry: AddedTokens.Entry, _ bytes: Range<Int>, _ control: ControlTokens) -> Bool {
        controls.contains(entry.id) && !control.allows(bytes)
    }

    /// Words of a part of a normalised text, each to tokens; `origin` gives the source's bytes for a range of that text.
    private func encode(
        _ part: TextStretch, _ control: ControlTokens, into tokens: inout [Token], _ cancel: CancelFlag?,
        _ origin: (Range<Int>) -> Range<Int>
    ) throws(DiffError) {
        switch model {
        case .bytePairs(let pairs, let words): try encode(part, pairs, words, into: &tokens, cancel, origin)
        case .unigram(let pieces, let marks):
            let takesControls = if case .everywhere = control { true } else { false }
            try encode(part, pieces, marks, takesControls, into: &tokens, cancel, origin)
        }
    }

    private func encode(
        _ part: TextStretch, _ pairs: BytePairModel, _ words: PreTokenizer, into tokens: inout [Token],
        _ cancel: CancelFlag?, _ origin: (Range<Int>) -> Range<Int>
    ) throws(DiffError) {
        guard let first = part.at(part.start) else { return }
        let isPrefixed = words.prefixesSpace && first != 32
        var text: [UInt32] = []
        text.reserveCapacity(part.count &+ 1)
        if isPrefixed { text.append(32) }
        for scalar in part { text.append(scalar) }
        // Where `text` begins in the normalised one; a space in front stands for nothing there.
        let shift = part.start &- (isPrefixed ? 1 : 0)
        var bytes: [UInt8] = []
        for (number, word) in try words.words(text, cancel).numbered {
            if number & 0xfff == 0 { try cancel?.check() }
            bytes.removeAll(keepingCapacity: true)
            for scalar in TextStretch(text, word) { Self.append(scalar, to: &bytes) }
            var cursor = ScalarCursor(text, word.lowerBound)
            for piece in try pairs.encode(bytes, cancel).each {
                append(piece, &cursor, shift, part.start, to: &tokens, origin)
            }
        }
    }

    private func encode(
        _ part: TextStretch, _ pieces: UnigramModel, _ marks: SpaceMarks, _ takesControls: Bool,
        into tokens: inout [Token], _ cancel: CancelFlag?, _ origin: (Range<Int>) -> Range<Int>
    ) throws(DiffError) {
        let words = marks.words(of: part) { origin(.ordered($0, $0 &+ 1)).lowerBound == 0 }
        for (number, word) in words.numbered {
            if number & 0xfff == 0 { try cancel?.check() }
            let text = marks.written(word, in: part)
            var bytes: [UInt8] = []
            for scalar in text.each { Self.append(scalar, to: &bytes) }
            var cursor = ScalarCursor(text, 0)
            let shift = word.range.lowerBound &- (word.isPrefixed ? 1 : 0)
            for piece in try pieces.encode(bytes, takesControls: takesControls, cancel).each {
                append(piece, &cursor, shift, word.range.lowerBound, to: &tokens, origin)
            }
        }
    }

    /// Appends a token of a word whose scalars stand `shift` further on in the normalised text, from `start` on.
    private func append(
        _ piece: TokenPiece, _ cursor: inout ScalarCursor, _ shift: Int, _ start: Int, to tokens: inout [Token],
        _ origin: (Range<Int>) -> Range<Int>
    ) {
        let scalars = cursor.scalars(.ordered(Int(piece.start), Int(piece.end)))
        let first = max(start, scalars.lowerBound &+ shift)
        let range = origin(.ordered(first, scalars.upperBound &+ shift))
        // A mark that is not in the text, before a word that a character became: it stands for that character with those before it.
        let last = range.isEmpty ? tokens.last?.bytes.upperBound ?? 0 : 0
        tokens.append(Token(id: Int(piece.token), bytes: .ordered(range.lowerBound, max(range.upperBound, last))))
    }

    /// Appends the UTF-8 of a scalar.
    static func append(_ scalar: UInt32, to bytes: inout [UInt8]) {
        guard scalar >= 0x80 else { return bytes.append(UInt8(truncatingIfNeeded: scalar)) }
        guard let scalar = Unicode.Scalar(scalar), let encoded = UTF8.encode(scalar) else { return }
        for byte in encoded { bytes.append(byte) }
    }

    /// The words that `text` is cut into before pairs are joined; added tokens are not looked for.
    public func words(in text: String) throws(DiffError) -> [String] {
        let scalars = try normalizer.apply(TextStretch(SourceText(text).scalars)).scalars
        var found: [String] = []
        switch model {
        case .bytePairs(_, let words):
            for word in try words.words(scalars).each { found.append(Self.text(TextStretch(scalars, word))) }
        case .unigram(_, let marks):
            let all = TextStretch(scalars)
            for word in marks.words(of: all, isStart: { $0 == 0 }).each {
                found.append(Self.text(TextStretch(marks.written(word, in: all))))
            }
        }
        return found
    }

    @inline(never)
    private static func text(_ scalars: TextStretch) -> String {
        var text = String.UnicodeScalarView()
        for value in scalars { if let scalar = Unicode.Scalar(value) { text.append(scalar) } }
        return String(text)
    }
}

/// Goes through a word's scalars beside the ranges of its bytes, which come in order.
private struct ScalarCursor {
    private let text: TextStretch
    /// A scalar and the byte of the word at which it begins.
    private var scalar: Int, byte = 0

    init(_ text: [UInt32], _ scalar: Int) { (self.text, self.scalar) = (TextStretch(text), scalar) }

    /// The scalars that the bytes belong to.
    mutating func scalars(_ bytes: Range<Int>) -> Range<Int> {
        while byte &+ width <= bytes.lowerBound, scalar < text.count { advance() }
        let first = scalar
        // The next range may begin within the last scalar of this one.
        var ahead = self
        while ahead.byte < bytes.upperBound, ahead.scalar < text.count { ahead.advance() }
        return .ordered(first, ahead.scalar)
    }

    private var width: Int {
        guard let value = text.at(scalar) else { return 1 }
        return value < 0x80 ? 1 : value < 0x800 ? 2 : value < 0x10000 ? 3 : 4
    }

    private mutating func advance() { (byte, scalar) = (byte &+ width, scalar &+ 1) }
}
