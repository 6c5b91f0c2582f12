public import DiffTensor

/// Text to tokens and back: byte-level byte-pair encoding as the published models of the families here use it.
///
/// Immutable; may be used by any number of threads at once.
public final class Tokenizer: Sendable {
    /// One token of an encoded text.
    public struct Token: Sendable, Equatable {
        /// Position in the vocabulary.
        public let id: Int
        /// The bytes of the text's UTF-8 that the token stands for; empty for tokens that the text does not contain.
        public let bytes: Range<Int>
    }

    /// What is put around a text: `nil` stands for the text.
    typealias Template = [Int?]

    /// One more than the largest id.
    public let vocabulary: Int
    private let model: BytePairModel
    private let added: AddedTokens
    private let normalizer: Normalizer
    private let words: PreTokenizer
    private let template: Template
    private let contents: [Int: [UInt8]]
    private let specials: Set<Int>
    private let ids: [[UInt8]: Int]

    /// More bytes than this are not encoded at once.
    public static let maxTextBytes = 64 << 20

    init(
        model: BytePairModel, vocabulary: [(token: String, id: Int)], added: AddedTokens, normalizer: Normalizer,
        words: PreTokenizer, template: Template
    ) {
        (self.model, self.added, self.normalizer) = (model, added, normalizer)
        (self.words, self.template) = (words, template)
        var (contents, ids): ([Int: [UInt8]], [[UInt8]: Int]) = ([:], [:])
        for entry in vocabulary.each {
            contents.put(ByteAlphabet.decoded(entry.token), for: entry.id)
            ids.put(entry.id, for: Array(entry.token.utf8))
        }
        for entry in added.entries.each {
            contents.put(Array(entry.content.utf8), for: entry.id)
            ids.put(entry.id, for: Array(entry.content.utf8))
        }
        (self.contents, self.ids) = (contents, ids)
        specials = Set(added.entries.filter(\.isSpecial).map(\.id))
        self.vocabulary = (contents.keys.max() ?? -1) &+ 1
    }

    /// The id of a token as the vocabulary writes it, such as `<|endoftext|>` or `Ġthe`; nil when it is none.
    public func id(of token: String) -> Int? { ids[Array(token.utf8)] }

    /// Whether `token` is one that decoding may leave out.
    public func isSpecial(_ token: Int) -> Bool { specials.contains(token) }

    /// The bytes that a token stands for; nil when there is no such token.
    public func bytes(of token: Int) -> [UInt8]? { contents[token] }

    // MARK: Encoding

    /// The tokens of `text`. `addsSpecial`: with what the tokenizer puts around a text (not for rendered chats, which have it).
    ///
    /// Throws `invalidArgument` for more than ``maxTextBytes``, `unsupported` when the tokenizer's pattern takes too long.
    public func encode(_ text: String, addsSpecial: Bool = false) throws(DiffError) -> [Token] {
        guard text.utf8.count <= Self.maxTextBytes else {
            throw DiffError(
                .invalidArgument, "a text of \(text.utf8.count) bytes; at most \(Self.maxTextBytes) are encoded at once"
            )
        }
        var source = SourceText(text)
        var tokens: [Token] = []
        let template = addsSpecial ? template : [nil]
        for part in template.each {
            if let part {
                tokens.append(Token(id: part, bytes: 0..<0))
            } else {
                try encode(&source, into: &tokens)
            }
        }
        return tokens
    }

    private func encode(_ source: inout SourceText, into tokens: inout [Token]) throws(DiffError) {
        for part in added.split(source.scalars[...], normalised: false).each {
            if let token = part.token {
                tokens.append(Token(id: token, bytes: source.bytes(part.range)))
                continue
            }
            let text = normalizer.apply(source.scalars[part.range])
            let place = { (range: Range<Int>) -> Range<Int> in
                guard let origins = text.origins else {
                    return (range.lowerBound &+ part.range.lowerBound)..<(range.upperBound &+ part.range.lowerBound)
                }
                let first = origins.at(range.lowerBound)?.lowerBound ?? 0
                let last = origins.at(range.upperBound &- 1)?.upperBound ?? first
                return (first &+ part.range.lowerBound)..<(max(first, last) &+ part.range.lowerBound)
            }
            for piece in added.split(text.scalars[...], normalised: true).each {
                if let token = piece.token {
                    tokens.append(Token(id: token, bytes: source.bytes(place(piece.range))))
                    continue
                }
                try encode(Array(text.scalars[piece.range]), source, into: &tokens) { (range) in
                    place((range.lowerBound &+ piece.range.lowerBound)..<(range.upperBound &+ piece.range.lowerBound))
                }
            }
        }
    }

    /// Words of `scalars`, each to tokens; `place` gives the range of the source's scalars for a range of `scalars`.
    private func encode(
        _ scalars: [UInt32], _ source: SourceText, into tokens: inout [Token], _ place: (Range<Int>) -> Range<Int>
    ) throws(DiffError) {
        guard !scalars.isEmpty else { return }
        let isPrefixed = words.prefixesSpace && scalars.first != 32
        let shift = isPrefixed ? 1 : 0
        let text = isPrefixed ? [32] + scalars : scalars
        for word in try words.words(text).each {
            var bytes: [UInt8] = []
            /// For each byte the scalar it belongs to.
            var owners: [Int] = []
            for index in word {
                guard let scalar = Unicode.Scalar(text[index]) else { continue }
                for byte in UTF8.encode(scalar) ?? UTF8.EncodedScalar() {
                    bytes.append(byte)
                    owners.append(max(0, index &- shift))
                }
            }
            var start = 0
            for piece in model.encode(bytes[...]) {
                let end = start &+ piece.bytes
                let first = owners.at(start) ?? 0
                let last = piece.bytes > 0 ? owners.at(end &- 1) ?? first : first
                let range = piece.bytes > 0 ? place(first..<(max(first, last) &+ 1)) : 0..<0
                tokens.append(Token(id: piece.token, bytes: source.bytes(range)))
                start = end
            }
        }
    }

    /// The words that `text` is cut into before pairs are joined; added tokens are not looked for.
    public func words(in text: String) throws(DiffError) -> [String] {
        let scalars = normalizer.apply(SourceText(text).scalars[...]).scalars
        return try words.words(scalars).map { range in
            var word = String.UnicodeScalarView()
            for value in scalars[range] { if let scalar = Unicode.Scalar(value) { word.append(scalar) } }
            return String(word)
        }
    }

    // MARK: Decoding

    /// The bytes of `tokens`. Ids that are no tokens stand for nothing, as in the published decoders.
    public func decodedBytes(_ tokens: [Int], skipsSpecial: Bool = true) -> [UInt8] {
        var bytes: [UInt8] = []
        for token in tokens.each where !(skipsSpecial && specials.contains(token)) {
            if let content = contents[token] { bytes.append(contentsOf: content) }
        }
        return bytes
    }

    /// The text of `tokens`; what is no UTF-8 becomes U+FFFD.
    public func decode(_ tokens: [Int], skipsSpecial: Bool = true) -> String {
        String(decoding: decodedBytes(tokens, skipsSpecial: skipsSpecial), as: UTF8.self)
    }
}

/// A text as scalars, with the byte at which each begins.
struct SourceText {
    let scalars: [UInt32]
    private let starts: [Int]

    init(_ text: String) {
        var (scalars, starts): ([UInt32], [Int]) = ([], [])
        scalars.reserveCapacity(text.utf8.count)
        starts.reserveCapacity(text.utf8.count &+ 1)
        var at = 0
        for scalar in text.unicodeScalars {
            scalars.append(scalar.value)
            starts.append(at)
            at &+= scalar.utf8.count
        }
        starts.append(at)
        (self.scalars, self.starts) = (scalars, starts)
    }

    /// The bytes of a range of scalars.
    func bytes(_ range: Range<Int>) -> Range<Int> {
        let start = starts.at(range.lowerBound) ?? 0
        return start..<max(start, starts.at(range.upperBound) ?? start)
    }
}
