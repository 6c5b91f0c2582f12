public import DiffCheckpoint
public import DiffTensor

/// Bounds on tokenizer files: ten times the largest published ones.
enum TokenizerLimits {
    static let bytes = 64 << 20
    static let json = JSON.Limits(bytes: bytes, depth: 16, values: 8_000_000, memory: 2 << 30)
}

extension Tokenizer {
    /// The tokenizer in a checkpoint's folder: `tokenizer.json`, else `vocab.json` with `merges.txt` (Qwen2, which Dream uses) and the
    /// added tokens of `tokenizer_config.json`. Nil when there is neither. Throws `format` and `unsupported` naming the place.
    public convenience init?(in checkpoint: Checkpoint) throws(DiffError) {
        if let json = try checkpoint.json("tokenizer.json", limits: TokenizerLimits.json) {
            try self.init(JSONObject(json, source: "tokenizer.json"))
            return
        }
        guard let vocabulary = try checkpoint.json("vocab.json", limits: TokenizerLimits.json),
            let merges = try checkpoint.text("merges.txt", limit: TokenizerLimits.bytes)
        else { return nil }
        try self.init(
            vocabulary: JSONObject(vocabulary, source: "vocab.json"), merges: merges,
            config: checkpoint.json("tokenizer_config.json").map { (json) throws(DiffError) in
                try JSONObject(json, source: "tokenizer_config.json")
            })
    }

    /// Reads a `tokenizer.json` at `path`. Throws `io`, `format`, `unsupported`.
    public convenience init(contentsOf path: String) throws(DiffError) {
        try self.init(JSONObject(JSON(contentsOf: path, limits: TokenizerLimits.json), source: "tokenizer.json"))
    }

    /// Reads the contents of a `tokenizer.json`.
    public convenience init(_ json: JSONObject) throws(DiffError) {
        let model = try json.object("model")
        guard try model.string("type", default: "BPE") == "BPE" else {
            throw model.error("type", "only BPE is supported")
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] where try !model.string(key, default: "").isEmpty
        {
            throw DiffError(.unsupported, "\(model.place): \(key) must be empty")
        }
        guard try model.number("dropout", in: 0...1, default: 0) == 0 else {
            throw DiffError(.unsupported, "\(model.place): dropout must be 0")
        }
        let vocabulary = try Self.vocabulary(model.object("vocab"))
        let bytePairs = try BytePairModel(
            vocabulary: vocabulary, merges: Self.merges(model), unknown: model.optionalString("unk_token"),
            fusesUnknown: model.bool("fuse_unk", default: false),
            fallsBackToBytes: model.bool("byte_fallback", default: false),
            takesWholeWords: model.bool("ignore_merges", default: false))
        if let decoder = try json.optionalObject("decoder"), try decoder.string("type") != "ByteLevel" {
            throw DiffError(.unsupported, "\(decoder.place): only the ByteLevel decoder is supported")
        }
        let normalizer = try Normalizer(json.optionalObject("normalizer"))
        let entries = try json.objects("added_tokens").map { (entry) throws(DiffError) in
            try Self.added(entry, id: entry.integer("id", in: 0...Int(Int32.max)))
        }
        self.init(
            model: bytePairs, vocabulary: vocabulary, added: try AddedTokens(entries), normalizer: normalizer,
            words: try PreTokenizer(json.object("pre_tokenizer")),
            template: try Self.template(json.optionalObject("post_processor")))
    }

    /// Reads the files of the slow Qwen2 tokenizer.
    convenience init(vocabulary json: JSONObject, merges text: String, config: JSONObject?) throws(DiffError) {
        let vocabulary = try Self.vocabulary(json)
        var merges: [(String, String)] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: true).enumerated() {
            if number == 0, line.hasPrefix("#version") { continue }
            merges.append(
                try Self.pair(String(line.last == "\r" ? line.dropLast() : line), "merges.txt: line \(number &+ 1)"))
        }
        var entries: [AddedTokens.Entry] = []
        if let added = try config?.optionalObject("added_tokens_decoder") {
            for key in added.keys.each {
                guard let id = Int(key), id >= 0, id <= Int(Int32.max) else { throw added.error(key, "no token id") }
                entries.append(try Self.added(added.object(key), id: id))
            }
        }
        self.init(
            model: try BytePairModel(
                vocabulary: vocabulary, merges: merges, unknown: nil, fusesUnknown: false, fallsBackToBytes: false,
                takesWholeWords: false),
            vocabulary: vocabulary, added: try AddedTokens(entries.sorted { $0.id < $1.id }), normalizer: .nfc,
            words: PreTokenizer([.split(try PatternParser.program(PreTokenizer.qwen2), .isolated, inverts: false)]),
            template: [nil])
    }

    private static func vocabulary(_ json: JSONObject) throws(DiffError) -> [(token: String, id: Int)] {
        var vocabulary: [(token: String, id: Int)] = []
        vocabulary.reserveCapacity(json.members.count)
        var seen: Set<Int> = []
        for (token, value) in json.members {
            guard case .integer(let id) = value, id >= 0, id <= Int(Int32.max) else {
                throw json.error(token, "a token's id must be an integer from 0 on")
            }
            guard seen.insert(id).inserted else { throw json.error(token, "the id \(id) is another token's already") }
            vocabulary.append((token, id))
        }
        return vocabulary
    }

    private static func merges(_ model: JSONObject) throws(DiffError) -> [(String, String)] {
        var merges: [(String, String)] = []
        for (number, value) in try model.array("merges").numbered {
            switch value {
            case .string(let text): merges.append(try pair(text, "\(model.place).merges[\(number)]"))
            case .array(let parts):
                guard parts.count == 2, case .string(let a)? = parts.first, case .string(let b)? = parts.last else {
                    throw model.error("merges[\(number)]", "expected two tokens")
                }
                merges.append((a, b))
            default: throw model.error("merges[\(number)]", "expected two tokens")
            }
        }
        return merges
    }

    private static func pair(_ text: String, _ place: String) throws(DiffError) -> (String, String) {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, let a = parts.first, let b = parts.last, !a.isEmpty, !b.isEmpty else {
            throw DiffError(.format, "\(place): expected two tokens and a space between")
        }
        return (String(a), String(b))
    }

    private static func added(_ json: JSONObject, id: Int) throws(DiffError) -> AddedTokens.Entry {
        let isSpecial = try json.bool("special", default: false)
        return AddedTokens.Entry(
            id: id, content: try json.string("content"), isSpecial: isSpecial,
            isSingleWord: try json.bool("single_word", default: false),
            stripsLeft: try json.bool("lstrip", default: false), stripsRight: try json.bool("rstrip", default: false),
            isNormalised: try json.bool("normalized", default: !isSpecial))
    }

    /// What the post-processor puts around a single text.
    private static func template(_ json: JSONObject?) throws(DiffError) -> Template {
        guard let json else { return [nil] }
        switch try json.string("type") {
        case "ByteLevel": return [nil]
        case "Sequence":
            var found: Template = [nil]
            for part in try json.objects("processors").each {
                let template = try Self.template(part)
                if template.count > 1 { found = template }
            }
            return found
        case "TemplateProcessing":
            let tokens = try json.optionalObject("special_tokens")
            var template: Template = []
            for piece in try json.objects("single").each {
                if let special = try piece.optionalObject("SpecialToken") {
                    guard let entry = try tokens?.optionalObject(special.string("id")) else {
                        throw special.error("id", "no such special token")
                    }
                    for id in try entry.integers("ids", in: 0...Int(Int32.max)).each { template.append(id) }
                } else {
                    _ = try piece.object("Sequence")
                    template.append(nil)
                }
            }
            guard template.count <= 64, template.each.filter({ $0 == nil }).count == 1 else {
                throw json.error("single", "expected the text once and a few special tokens")
            }
            return template
        case let other: throw DiffError(.unsupported, "\(json.place): a post-processor of type \"\(other)\"")
        }
    }
}
