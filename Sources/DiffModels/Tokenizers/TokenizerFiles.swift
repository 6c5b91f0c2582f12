public import DiffCheckpoint
public import DiffTensor

/// Bounds on tokenizer files: ten times the largest published ones.
enum TokenizerLimits {
    static let bytes = 64 << 20
    static let json = JSON.Limits(bytes: bytes, depth: 16, values: 8_000_000, memory: 2 << 30)
}

extension Tokenizer {
    /// The tokenizer in a checkpoint's folder: `tokenizer.json`, else `vocab.json` with `merges.txt` (CLIP's, RoBERTa's, which CLAP uses, or
    /// Qwen2's, which Dream uses), else `spiece.model` (T5's), and what `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` add. Nil
    /// when there is none. `controls`: tokens that user text must not contain by accident besides the special ones. Throws `format` and
    /// `unsupported` naming the place.
    public convenience init?(in checkpoint: Checkpoint, controls: [Int] = []) throws(DiffError) {
        guard let directory = checkpoint.directory else { return nil }
        try self.init(in: directory, controls: controls)
    }

    /// The same in any folder.
    public convenience init?(in directory: Directory, controls: [Int] = []) throws(DiffError) {
        try self.init(in: directory, beside: TokenizerNeighbours(directory), controls: controls)
    }

    /// The same with what stands beside the folder's own tokenizer files.
    convenience init?(
        in directory: Directory, beside neighbours: TokenizerNeighbours, controls: [Int] = []
    ) throws(DiffError) {
        if let json = try directory.json("tokenizer.json", limits: TokenizerLimits.json) {
            try self.init(JSONObject(json, source: "tokenizer.json"), beside: neighbours, controls: controls)
            return
        }
        guard let json = try directory.json("vocab.json", limits: TokenizerLimits.json),
            let merges = try directory.lines("merges.txt", limit: TokenizerLimits.bytes)
        else {
            guard let bytes = try directory.bytes(Self.sentencePieceFile, limit: TokenizerLimits.bytes) else {
                return nil
            }
            try self.init(sentencePiece: bytes, beside: neighbours, controls: controls)
            return
        }
        let vocabulary = try JSONObject(json, source: "vocab.json")
        if neighbours.isCLIP(vocabulary) {
            try self.init(clip: vocabulary, merges: merges, beside: neighbours, controls: controls)
        } else if neighbours.isRoberta(vocabulary) {
            try self.init(roberta: vocabulary, merges: merges, beside: neighbours, controls: controls)
        } else {
            try self.init(vocabulary: vocabulary, merges: merges, beside: neighbours, controls: controls)
        }
    }

    /// Reads a `tokenizer.json`, or the folder of one, at `path`. Throws `io`, `format`, `unsupported`.
    public convenience init(contentsOf path: String) throws(DiffError) {
        guard try Directory.isDirectory(path) else {
            try self.init(JSONObject(JSON(contentsOf: path, limits: TokenizerLimits.json), source: "tokenizer.json"))
            return
        }
        guard let read = try Tokenizer(in: Directory(path: path, followingLinks: true)) else {
            throw DiffError(.io, "\(path): no tokenizer.json, no vocab.json with merges.txt and no spiece.model")
        }
        self.init(copying: read)
    }

    /// Reads the contents of a `tokenizer.json`.
    public convenience init(_ json: JSONObject) throws(DiffError) {
        try self.init(json, beside: TokenizerNeighbours(), controls: [])
    }

    convenience init(
        _ json: JSONObject, beside neighbours: TokenizerNeighbours, controls: [Int]
    ) throws(DiffError) {
        let model = try json.object("model")
        let type = try model.string("type", default: "BPE")
        if type == "Unigram" {
            try self.init(unigram: json, beside: neighbours, controls: controls)
            return
        }
        guard type == "BPE" else {
            throw DiffError(.unsupported, "\(model.place): a model of type \"\(type)\"; known: BPE, Unigram")
        }
        guard try model.string("continuing_subword_prefix", default: "").isEmpty else {
            throw DiffError(.unsupported, "\(model.place): continuing_subword_prefix must be empty")
        }
        guard try model.number("dropout", in: 0...1, default: 0) == 0 else {
            throw DiffError(.unsupported, "\(model.place): dropout must be 0")
        }
        if let decoder = try json.optionalObject("decoder"), try decoder.string("type") != "ByteLevel" {
            throw DiffError(.unsupported, "\(decoder.place): only the ByteLevel decoder is supported")
        }
        let vocabulary = try Self.vocabulary(model.object("vocab"))
        var entries: [AddedTokens.Entry] = []
        for entry in try json.objects("added_tokens").each {
            entries.append(try Self.added(entry, id: entry.integer("id", in: 0...Int(Int32.max))))
        }
        let parts = Parts(vocabulary, try neighbours.completed(entries, vocabulary), controls)
        let bytePairs = try BytePairModel(
            vocabulary: vocabulary, merges: Self.merges(model), controls: parts.controls,
            unknown: model.optionalString("unk_token"), fusesUnknown: model.bool("fuse_unk", default: false),
            fallsBackToBytes: model.bool("byte_fallback", default: false),
            takesWholeWords: model.bool("ignore_merges", default: false),
            wordEnd: model.string("end_of_word_suffix", default: ""))
        let words = try PreTokenizer(json.object("pre_tokenizer"), prefixesSpace: neighbours.prefixesSpace)
        try self.init(
            model: .bytePairs(bytePairs, words), parts: parts,
            normalizer: try Normalizer(json.optionalObject("normalizer")),
            template: try Self.template(json.optionalObject("post_processor")),
            decoder: .byteLevel(wordEnd: bytePairs.wordEnd), chatTemplate: neighbours.chatTemplate)
    }

    /// Reads the files of the slow Qwen2 tokenizer.
    convenience init(
        vocabulary json: JSONObject, merges lines: [String], beside neighbours: TokenizerNeighbours, controls: [Int]
    ) throws(DiffError) {
        let vocabulary = try Self.vocabulary(json)
        let merges = try Self.merges(lines)
        let parts = Parts(vocabulary, try neighbours.completed([], vocabulary), controls)
        let model = try BytePairModel(
            vocabulary: vocabulary, merges: merges, controls: parts.controls, unknown: nil, fusesUnknown: false,
            fallsBackToBytes: false, takesWholeWords: false)
        let words = PreTokenizer([
            .split(try PatternParser.program(PreTokenizer.qwen2), .isolated, inverts: false)
        ])
        try self.init(
            model: .bytePairs(model, words), parts: parts, normalizer: .nfc, template: [nil],
            decoder: .byteLevel(wordEnd: ""), chatTemplate: neighbours.chatTemplate)
    }

    /// The pairs that the lines of a `merges.txt` write.
    static func merges(_ lines: [String]) throws(DiffError) -> [(String, String)] {
        var merges: [(String, String)] = []
        for (number, line) in lines.numbered {
            let line = trimmed(line)
            if line.isEmpty || number == 0 && line.starts(with: "#version".utf8) { continue }
            merges.append(try pair(line, "merges.txt: line \(number &+ 1)"))
        }
        return merges
    }

    /// Without blanks and tabs at both ends.
    private static func trimmed(_ line: String) -> [UInt8] {
        func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }
        var (trimmed, blanks): ([UInt8], [UInt8]) = ([], [])
        for byte in line.bytes.each {
            guard !isBlank(byte) else {
                if !trimmed.isEmpty { blanks.append(byte) }
                continue
            }
            for blank in blanks.each { trimmed.append(blank) }
            blanks.removeAll(keepingCapacity: true)
            trimmed.append(byte)
        }
        return trimmed
    }

    static func vocabulary(_ json: JSONObject) throws(DiffError) -> [(token: String, id: Int)] {
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
            case .string(let text): merges.append(try pair(text.bytes, "\(model.place).merges[\(number)]"))
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

    /// Two tokens with a space between; by bytes, since a mark behind the space is one character with it.
    private static func pair(_ text: [UInt8], _ place: String) throws(DiffError) -> (String, String) {
        var (left, right, spaces): ([UInt8], [UInt8], Int) = ([], [], 0)
        for byte in text.each {
            if byte == 32 { spaces &+= 1 } else if spaces == 0 { left.append(byte) } else { right.append(byte) }
        }
        guard spaces == 1, !left.isEmpty, !right.isEmpty else {
            throw DiffError(.format, "\(place): expected two tokens and a space between")
        }
        return (String(decoding: left, as: UTF8.self), String(decoding: right, as: UTF8.self))
    }

    static func added(_ json: JSONObject, id: Int) throws(DiffError) -> AddedTokens.Entry {
        let isSpecial = try json.bool("special", default: false)
        return AddedTokens.Entry(
            id: id, content: try json.string("content"), isSpecial: isSpecial,
            isSingleWord: try json.bool("single_word", default: false),
            stripsLeft: try json.bool("lstrip", default: false), stripsRight: try json.bool("rstrip", default: false),
            isNormalised: try json.bool("normalized", default: !isSpecial))
    }

    /// The id of a special token that is written as its text and its id.
    private static func marker(_ json: JSONObject, _ key: String) throws(DiffError) -> Int {
        let parts = try json.array(key)
        guard parts.count == 2, let id = parts.last?.asInteger, (0...Int(Int32.max)).contains(id) else {
            throw json.error(key, "expected a token and its id")
        }
        return id
    }

    /// What the post-processor puts around a single text.
    static func template(_ json: JSONObject?) throws(DiffError) -> Template {
        guard let json else { return [nil] }
        switch try json.string("type") {
        case "ByteLevel": return [nil]
        case "RobertaProcessing", "BertProcessing": return try [marker(json, "cls"), nil, marker(json, "sep")]
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
