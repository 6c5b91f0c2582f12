import DiffCheckpoint
import DiffTensor

extension TokenizerNeighbours {
    /// Whether a vocabulary beside these is RoBERTa's: by the class in `tokenizer_config.json`, else by the tokens around texts.
    func isRoberta(_ vocabulary: JSONObject) -> Bool {
        if let tokenizerClass { return tokenizerClass.hasPrefix("RobertaTokenizer") }
        return ["<s>", "<pad>", "</s>", "<mask>"].each.allSatisfy { vocabulary.members[$0] != nil }
    }
}

extension Tokenizer {
    /// Special tokens of RoBERTa: the keys that may name them, and what they are as published.
    private static let robertaTokens = [
        ("cls_token", "<s>"), ("pad_token", "<pad>"), ("sep_token", "</s>"), ("unk_token", "<unk>"),
        ("mask_token", "<mask>"), ("bos_token", "<s>"), ("eos_token", "</s>"),
    ]

    /// Reads the files of RoBERTa's tokenizer, which are `vocab.json` and `merges.txt`: GPT-2's words of bytes as they stand, between
    /// `<s>` and `</s>`. CLAP has it.
    ///
    /// Source: `RobertaTokenizer` of transformers. Throws `format`, `unsupported`.
    convenience init(
        roberta json: JSONObject, merges lines: [String], beside neighbours: TokenizerNeighbours, controls: [Int]
    ) throws(DiffError) {
        let vocabulary = try Self.vocabulary(json)
        var (entries, start, end): ([AddedTokens.Entry], Int?, Int?) = ([], nil, nil)
        for (role, published) in Self.robertaTokens.each {
            let token = neighbours.token(role) ?? published
            guard case .integer(let id)? = json.members[token] else {
                throw DiffError(
                    .format,
                    "vocab.json: no token \"\(token.prefix(60))\", which is the \(role): take all files from one checkpoint"
                )
            }
            if role == "cls_token" { start = id }
            if role == "sep_token" { end = id }
            guard !entries.each.contains(where: { $0.id == id }) else { continue }
            // A mask takes the space before it along, unless a file describes it otherwise.
            let entry = AddedTokens.Entry(
                id: id, content: token, isSpecial: true, isSingleWord: false, stripsLeft: role == "mask_token",
                stripsRight: false, isNormalised: false)
            entries.append(neighbours.described(role, id: id) ?? entry)
        }
        let parts = Parts(vocabulary, try neighbours.completed(entries, vocabulary), controls)
        let model = try BytePairModel(
            vocabulary: vocabulary, merges: Self.merges(lines), controls: parts.controls, unknown: nil,
            fusesUnknown: false, fallsBackToBytes: false, takesWholeWords: false)
        var stages: [PreTokenizer.Stage] = []
        if neighbours.prefixesSpace ?? false { stages.append(.prefixSpace) }
        stages.append(.split(try PatternParser.program(PreTokenizer.gpt2), .isolated, inverts: false))
        try self.init(
            model: .bytePairs(model, PreTokenizer(stages)), parts: parts, normalizer: .none,
            template: [start, nil, end], decoder: .byteLevel(wordEnd: ""), chatTemplate: nil)
    }
}
