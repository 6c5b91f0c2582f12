public import DiffCheckpoint
public import DiffTensor

/// A tokenizer as text encoders are used with it: from prompts of any length to rows of the length that is asked for.
///
/// Immutable; may be used by any number of threads at once.
public struct PromptTokenizer: Sendable {
    /// The row of a prompt.
    public struct Row: Sendable, Equatable {
        /// Its tokens, the special ones and padding included.
        public let ids: [Int]
        /// How many of them are no padding.
        public let count: Int
        /// What did not fit: bytes of the prompt's UTF-8. Nil: all of it is in the row.
        public let cut: Range<Int>?

        /// False for padding.
        public var mask: [Bool] { Indices(below: ids.count).map { $0 < count } }
    }

    /// What cuts the text.
    public let tokenizer: Tokenizer
    /// Most tokens of a row as `tokenizer_config.json` says (`model_max_length`); nil: it does not.
    public let maxLength: Int?
    /// The token that stands behind shorter texts.
    public let padding: Int

    /// The tokenizer in a checkpoint's folder; nil when there is none in it. Throws `io`, `format`, `unsupported`.
    public init?(in checkpoint: Checkpoint) throws(DiffError) {
        guard let directory = checkpoint.directory else { return nil }
        try self.init(in: directory)
    }

    /// The same in any folder; its `tokenizer_config.json` is read as `entered` gives it back, which may keep a record. Throws also what
    /// that throws.
    public init?(
        in directory: Directory, entered: (JSONObject) throws(DiffError) -> JSONObject = Self.checked
    ) throws(DiffError) {
        let config = try TokenizerNeighbours.config(in: directory).map(entered)
        let neighbours = try TokenizerNeighbours(directory, config)
        guard let tokenizer = try Tokenizer(in: directory, beside: neighbours) else { return nil }
        self.tokenizer = tokenizer
        maxLength = neighbours.maxLength
        // Where no file names it, the end of a text: CLIP's pads with it.
        guard let name = neighbours.token("pad_token") else {
            guard let end = tokenizer.id(of: "<pad>") ?? tokenizer.template.last ?? nil else {
                throw DiffError(
                    .format,
                    "\(directory.path): nothing says what shorter texts are padded with: name a pad_token in "
                        + "tokenizer_config.json")
            }
            padding = end
            return
        }
        guard let id = tokenizer.id(of: name) else {
            throw DiffError(
                .format,
                "\(directory.path): the pad_token \"\(name)\" is not in the vocabulary: take all of the tokenizer's files from one "
                    + "checkpoint")
        }
        padding = id
    }

    /// `config` itself. Throws `unsupported` when it says what is not done here.
    public static func checked(_ config: JSONObject) throws(DiffError) -> JSONObject {
        try FileRules.promptTokenizer.refuse(config)
        return config
    }

    /// Tokens that every row has beside those of the text.
    public var specials: Int { tokenizer.template.count &- 1 }

    /// The row of `prompt`: its first tokens, as many as fit beside the special ones, and padding up to `length` unless `pads` is false.
    /// Texts of control tokens become these, as in the published pipelines.
    ///
    /// Throws `invalidArgument` for a length that the special tokens alone do not fit, or a prompt beyond ``Tokenizer/maxTextBytes``;
    /// `unsupported`, `cancelled`.
    public func row(
        _ prompt: String, length: Int, pads: Bool = true, cancel: CancelFlag? = nil
    ) throws(DiffError) -> Row {
        let room = length &- specials
        guard room >= 0, length <= Tokenizer.maxTextBytes else {
            throw DiffError(
                .invalidArgument,
                "prompts of \(length) tokens: \(specials) of them are special; the length must be between \(specials) and "
                    + "\(Tokenizer.maxTextBytes)")
        }
        let tokens = try tokenizer.encode(prompt, allowsControl: true, cancel: cancel)
        var ids: [Int] = []
        for part in tokenizer.template.each {
            guard part == nil else {
                ids.append(part ?? 0)
                continue
            }
            for (position, token) in tokens.numbered where position < room { ids.append(token.id) }
        }
        let count = ids.count
        while pads, ids.count < length { ids.append(padding) }
        let cut = tokens.at(room).map { $0.bytes.lowerBound..<max($0.bytes.lowerBound, prompt.utf8.count) }
        return Row(ids: ids, count: count, cut: cut)
    }
}
