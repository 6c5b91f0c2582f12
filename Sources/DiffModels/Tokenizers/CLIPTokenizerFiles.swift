import DiffCheckpoint
import DiffTensor

extension TokenizerNeighbours {
    /// Whether a vocabulary beside these is that of CLIP: by the class in `tokenizer_config.json`, else by how ends of words are written.
    func isCLIP(_ vocabulary: JSONObject) -> Bool {
        if let tokenizerClass { return tokenizerClass.hasPrefix("CLIPTokenizer") }
        return vocabulary.members["<|startoftext|>"] != nil && vocabulary.members["!</w>"] != nil
    }
}

extension Tokenizer {
    /// CLIP's expression for words: white space is in none of them. GPT-2's cuts what it finds once more, which changes only the first
    /// two, where they are no special tokens.
    private static let clipWords =
        #"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"#
    private static let clipStart = "<|startoftext|>", clipEnd = "<|endoftext|>"

    /// Reads the files of CLIP's tokenizer, which are `vocab.json` and `merges.txt`: texts are composed (NFC) and in lower case, every word
    /// ends in `</w>`, and a text stands between a start and an end. What is in no vocabulary becomes the end token.
    ///
    /// Source: `CLIPTokenizer` of transformers, which repairs no text (ftfy). Throws `format`, `unsupported`.
    convenience init(
        clip json: JSONObject, merges lines: [String], beside neighbours: TokenizerNeighbours, controls: [Int]
    ) throws(DiffError) {
        guard neighbours.lowersCase ?? true else {
            throw DiffError(
                .unsupported,
                "tokenizer_config.json: do_lower_case: false: CLIP's vocabulary has small letters only; set it to true")
        }
        guard !(neighbours.prefixesSpace ?? false) else {
            throw DiffError(
                .unsupported,
                "tokenizer_config.json: add_prefix_space: true: CLIP's words have no spaces in front; set it to false")
        }
        let vocabulary = try Self.vocabulary(json)
        func id(_ role: String, _ published: String) throws(DiffError) -> Int {
            let token = neighbours.token(role) ?? published
            guard case .integer(let id)? = json.members[token] else {
                throw DiffError(
                    .format,
                    "vocab.json: no token \"\(token)\", which is the \(role): take all files from one checkpoint")
            }
            return id
        }
        let (start, end) = (try id("bos_token", Self.clipStart), try id("eos_token", Self.clipEnd))
        // Special also where no file says so.
        var unnamed: [AddedTokens.Entry] = []
        if neighbours.token("bos_token") == nil {
            unnamed.append(AddedTokens.Entry(id: start, content: Self.clipStart, isSpecial: true))
        }
        if neighbours.token("eos_token") == nil {
            unnamed.append(AddedTokens.Entry(id: end, content: Self.clipEnd, isSpecial: true))
        }
        let parts = Parts(vocabulary, try neighbours.completed(unnamed, vocabulary), controls)
        let model = try BytePairModel(
            vocabulary: vocabulary, merges: Self.merges(lines), controls: parts.controls,
            unknown: neighbours.token("unk_token") ?? Self.clipEnd, fusesUnknown: false, fallsBackToBytes: false,
            takesWholeWords: false, wordEnd: "</w>")
        let words = PreTokenizer([
            .split(try PatternParser.program(Self.clipWords), .removed, inverts: true),
            .split(try PatternParser.program(PreTokenizer.gpt2), .isolated, inverts: false),
        ])
        try self.init(
            model: .bytePairs(model, words), parts: parts, normalizer: Normalizer([.composition, .lowercase]),
            template: [start, nil, end], decoder: .byteLevel(wordEnd: model.wordEnd), chatTemplate: nil)
    }
}
