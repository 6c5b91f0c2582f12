public import DiffCheckpoint
public import DiffTensor

/// Sizes and conventions of a bidirectional transformer that predicts masked tokens.
public struct LanguageConfiguration: Sendable, Equatable {
    /// The published families that this engine runs.
    public enum Family: String, Sendable, CaseIterable {
        /// LLaDA-8B, LLaDA-1.5: the logits at a position decide the token at that position.
        case llada
        /// iLLaDA: decoded as LLaDA is, with the layout of Llama.
        case illada
        /// Dream, DiffuCoder, Dream-Coder: a causal model turned bidirectional, so the logits at a position decide the next token.
        case dream
    }

    /// Which family's names and conventions.
    public var family: Family
    /// Width of the residual stream.
    public var width: Int
    /// Number of blocks.
    public var layers: Int
    /// Attention heads, and heads of keys and values that they share.
    public var heads: Int, kvHeads: Int
    /// Elements of a head.
    public var headDim: Int
    /// Hidden width of a block's MLP.
    public var mlpWidth: Int
    /// Rows of the embedding and outputs of the head.
    public var vocabulary: Int
    /// Base of the rotary positions.
    public var rotaryBase: Float
    /// eps of the norms.
    public var eps: Float
    /// Whether the head's weights are the embedding.
    public var isTied: Bool
    /// Whether projections of queries, keys and values have a bias.
    public var hasProjectionBias: Bool
    /// The mask token; nil when the config names none and none was given.
    public var maskToken: Int?
    /// Tokens that end a text, the end of the text proper first.
    public var endTokens: [Int]
    /// Positions that the model was made for; longer sequences work, but are untrained.
    public var trainedLength: Int

    /// Reads `config.json` of any of the families, told apart by `architectures` and `model_type`. Throws `format`, and `unsupported`
    /// for variants that compute something else.
    public init(_ config: JSONObject) throws(DiffError) {
        let fallback: Family? = config.has("model_type") ? nil : config.has("d_model") ? .llada : .dream
        switch Self.family(of: config) ?? fallback {
        case .llada: try self.init(llada: config)
        case .illada: try self.init(illada: config)
        case .dream: try self.init(dream: config)
        case nil:
            let type = try config.string("model_type", default: "")
            throw DiffError(.unsupported, "\(config.place): model_type \"\(type)\" is not a masked language model")
        }
        try Self.rules.refuse(config)
        try check(config)
    }

    /// The family whose class `config` names; nil when it is none of these.
    public static func family(of config: JSONObject) -> Family? {
        if case .array(let classes)? = config.value("architectures"),
            classes.each.contains(where: { $0 == .string("ILLaDAForCausalLM") })
        {
            return .illada
        }
        guard case .string(let type)? = config.value("model_type") else { return nil }
        return Family(rawValue: type.lowercased())
    }

    /// `eos_token_id`, one or a list; `companion` with it where it is `published`: the end of a turn, which the config leaves out.
    static func endTokens(
        _ c: JSONObject, adding companion: Int? = nil, to published: Int? = nil
    ) throws(DiffError) -> [Int] {
        var ends = try c.oneOrMoreIntegers("eos_token_id", in: 0...Limits.vocabulary)
        if let companion, let published, ends.contains(published), !ends.contains(companion) { ends.append(companion) }
        return ends
    }

    private func check(_ c: JSONObject) throws(DiffError) {
        guard heads > 0, kvHeads > 0, heads % kvHeads == 0 else {
            throw DiffError(.format, "\(c.place): \(heads) heads cannot share \(kvHeads) heads of keys and values")
        }
        guard headDim % 2 == 0, (2...1024).contains(headDim) else {
            throw DiffError(.format, "\(c.place): a head of \(headDim) elements; an even number up to 1024 is needed")
        }
        guard mlpWidth > 0, mlpWidth <= Self.maxMLPWidth else {
            throw DiffError(.format, "\(c.place): an MLP of \(mlpWidth); at most \(Self.maxMLPWidth) are supported")
        }
        for token in [maskToken].compactMap(\.self) + endTokens where token >= vocabulary {
            // Tiny test models carry the published ids of ends they cannot produce; a mask must be there.
            guard token != maskToken else {
                throw DiffError(.format, "\(c.place): mask token \(token) is outside 0..<\(vocabulary)")
            }
        }
    }

    static let maxMLPWidth = 1 << 20

    /// The width of one head; throws `format` when the width does not divide, `unsupported` when the config wants heads of another.
    static func headDim(_ width: Int, _ heads: Int, _ c: JSONObject) throws(DiffError) -> Int {
        guard heads > 0, width % heads == 0 else {
            throw DiffError(.format, "\(c.place): a width of \(width) is not divisible into \(heads) heads")
        }
        if let stated = try c.optionalInteger("head_dim", in: 1...Limits.width), stated != width / heads {
            throw DiffError(.unsupported, "\(c.place): head_dim must be \(width / heads), found \(stated)")
        }
        return width / heads
    }
}
