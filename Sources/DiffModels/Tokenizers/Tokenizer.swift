public import DiffTensor

/// Text to tokens and back, as the published models of the families here use it: byte-level byte pairs, or the likeliest pieces.
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
    let model: TokenModel
    let added: AddedTokens
    let normalizer: Normalizer
    let template: Template
    private let decoder: TokenDecoder
    /// How the folder's own template writes conversations, in Jinja; nil when it has none.
    let chatTemplate: String?
    private let contents: [Int: [UInt8]]
    private let specials: Set<Int>
    /// Tokens that user text must not contain by accident: the special ones, and those that the model's configuration names.
    let controls: Set<Int>
    private let ids: [[UInt8]: Int]

    /// More bytes than this are not encoded at once.
    public static let maxTextBytes = 64 << 20

    /// A vocabulary, what was added to it, and what of it controls a model.
    struct Parts: Sendable {
        let vocabulary: [(token: String, id: Int)]
        let added: [AddedTokens.Entry]
        let specials: Set<Int>, controls: Set<Int>

        init(_ vocabulary: [(token: String, id: Int)], _ added: [AddedTokens.Entry], _ controls: [Int]) {
            (self.vocabulary, self.added) = (vocabulary, added)
            specials = Set(added.filter(\.isSpecial).map(\.id))
            self.controls = specials.union(controls)
        }

        /// What each token stands for, and the ids of tokens as they are written.
        @inline(never)
        func tables(_ decoder: TokenDecoder) -> (contents: [Int: [UInt8]], ids: [[UInt8]: Int]) {
            var (contents, ids): ([Int: [UInt8]], [[UInt8]: Int]) = ([:], [:])
            for entry in vocabulary.each {
                contents.put(decoder.content(of: entry.token), for: entry.id)
                ids.put(entry.id, for: entry.token.bytes)
            }
            for entry in added.each {
                contents.put(entry.content.bytes, for: entry.id)
                ids.put(entry.id, for: entry.content.bytes)
            }
            return (contents, ids)
        }
    }

    init(
        model: TokenModel, parts: Parts, normalizer: Normalizer, template: Template, decoder: TokenDecoder,
        chatTemplate: String?
    ) throws(DiffError) {
        (self.model, self.normalizer, self.decoder) = (model, normalizer, decoder)
        (self.template, self.chatTemplate) = (template, chatTemplate)
        added = try AddedTokens(parts.added, normalizer)
        (specials, controls) = (parts.specials, parts.controls)
        (contents, ids) = parts.tables(decoder)
        vocabulary = (contents.keys.max() ?? -1) &+ 1
    }

    init(copying other: Tokenizer) {
        (model, added, normalizer, decoder) = (other.model, other.added, other.normalizer, other.decoder)
        (template, chatTemplate, contents, ids) = (other.template, other.chatTemplate, other.contents, other.ids)
        (specials, controls, vocabulary) = (other.specials, other.controls, other.vocabulary)
    }

    /// The id of a token as the vocabulary writes it, such as `<|endoftext|>` or `Ġthe`; nil when it is none.
    public func id(of token: String) -> Int? { ids[token.bytes] }

    /// Whether `token` is one that decoding may leave out.
    public func isSpecial(_ token: Int) -> Bool { specials.contains(token) }

    /// The bytes that a token stands for; nil when there is no such token.
    public func bytes(of token: Int) -> [UInt8]? { contents[token] }

    // MARK: Decoding

    /// The bytes of `tokens`. Ids that are no tokens stand for nothing, as in the published decoders.
    public func decodedBytes(_ tokens: [Int], skipsSpecial: Bool = true) -> [UInt8] {
        decoder.decoded(tokens.each.compactMap { content($0, skipsSpecial) })
    }

    /// The text of `tokens`; invalid UTF-8 becomes U+FFFD.
    public func decode(_ tokens: [Int], skipsSpecial: Bool = true) -> String {
        String(decoding: decodedBytes(tokens, skipsSpecial: skipsSpecial), as: UTF8.self)
    }

    /// The same for long lists, with a way to cancel. Throws `cancelled`, and `invalidArgument` when the text has more
    /// than ``maxDecodedBytes``.
    public func decode(_ tokens: [Int], skipsSpecial: Bool = true, cancel: CancelFlag) throws(DiffError) -> String {
        var (parts, bytes): ([[UInt8]], Int) = ([], 0)
        for (position, token) in tokens.numbered {
            if position & 0xffff == 0 { try cancel.check() }
            guard let content = content(token, skipsSpecial) else { continue }
            parts.append(content)
            bytes = Checked.sum(bytes, content.count)
            guard bytes <= Self.maxDecodedBytes else {
                throw DiffError(.invalidArgument, "tokens: their text has more than \(Self.maxDecodedBytes) bytes")
            }
        }
        return String(decoding: decoder.decoded(parts), as: UTF8.self)
    }

    /// More bytes than this are not decoded at once.
    public static let maxDecodedBytes = 1 << 30

    private func content(_ token: Int, _ skipsSpecial: Bool) -> [UInt8]? {
        skipsSpecial && specials.contains(token) ? nil : contents[token]
    }
}
