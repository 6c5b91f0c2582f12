import DiffCheckpoint
import DiffTensor

/// What stands beside a tokenizer's own files in published folders: `tokenizer_config.json`, `special_tokens_map.json`,
/// `added_tokens.json` and `chat_template.jinja`.
struct TokenizerNeighbours {
    /// Added tokens by the files that name them.
    private var added: [(file: String, entry: AddedTokens.Entry)] = []
    /// Tokens that are special, by the keys that name them; the last of those that name the same one says how it is looked for.
    private var specials: [Special] = []
    /// A name of `tokenizer_class`.
    private(set) var tokenizerClass: String?
    /// Most tokens of a text, the special ones included; nil: not said, or so many that it means none.
    private(set) var maxLength: Int?
    /// How many tokens `<extra_id_0>` and so on there are; nil: not said.
    private(set) var extraTokens: Int?
    /// Whether letters are made small; nil: not said.
    private(set) var lowersCase: Bool?
    /// Whether texts get a space in front; nil: not said.
    private(set) var prefixesSpace: Bool?
    private(set) var chatTemplate: String?

    init() {}

    init(_ directory: Directory) throws(DiffError) { try self.init(directory, Self.config(in: directory)) }

    /// `config` is the folder's `tokenizer_config.json`; nil: it has none.
    init(_ directory: Directory, _ config: JSONObject?) throws(DiffError) {
        let map = try Self.object("special_tokens_map.json", directory)
        for file in [config, map].compactMap(\.self).each {
            for special in try Self.specials(file).each { specials.append(special) }
        }
        if let config { try read(config) }
        if let json = try Self.object("added_tokens.json", directory) {
            for content in json.keys.each {
                let id = try json.integer(content, in: 0...Int(Int32.max))
                let isSpecial = specials.each.contains { $0.content.utf8.elementsEqual(content.utf8) }
                let entry = AddedTokens.Entry(
                    id: id, content: content, isSpecial: isSpecial, isSingleWord: false, stripsLeft: false,
                    stripsRight: false, isNormalised: !isSpecial)
                added.append((json.source, entry))
            }
        }
        if let lines = try directory.lines("chat_template.jinja", limit: 1 << 20) {
            chatTemplate = lines.joined(separator: "\n")
        }
    }

    /// The folder's `tokenizer_config.json`; nil: it has none.
    static func config(in directory: Directory) throws(DiffError) -> JSONObject? {
        try object("tokenizer_config.json", directory)
    }

    private static func object(_ name: String, _ directory: Directory) throws(DiffError) -> JSONObject? {
        guard let json = try directory.json(name) else { return nil }
        return try JSONObject(json, source: name)
    }

    private mutating func read(_ config: JSONObject) throws(DiffError) {
        if let decoder = try config.optionalObject("added_tokens_decoder") {
            for key in decoder.keys.each {
                guard let id = Checked.decimal(key.bytes), id <= Int(Int32.max) else {
                    throw decoder.error(key, "no token id")
                }
                added.append((config.source, try Tokenizer.added(decoder.object(key), id: id)))
            }
        }
        tokenizerClass = try config.optionalString("tokenizer_class")
        extraTokens = try config.optionalInteger("extra_ids", in: 0...100_000)
        if extraTokens == nil {
            let listed = specials.each.reduce(0) { $0 &+ ($1.content.hasPrefix("<extra_id_") ? 1 : 0) }
            extraTokens = listed > 0 ? listed : nil
        }
        if config.has("do_lower_case") { lowersCase = try config.bool("do_lower_case") }
        if let length = try config.optionalNumber("model_max_length", in: 1...1e300) {
            maxLength = Checked.integer(length).flatMap { $0 <= Self.longest ? $0 : nil }
        }
        if config.has("add_prefix_space") { prefixesSpace = try config.bool("add_prefix_space") }
        switch config.value("chat_template") {
        case .string(let text)?: chatTemplate = text
        case .array?:
            // Several by name, of which one is for plain conversations, without tools.
            for template in try config.objects("chat_template").each where try template.string("name") == "default" {
                chatTemplate = try template.string("template")
            }
        case nil: break
        case .some: throw config.error("chat_template", "expected a text, or a list of them with names")
        }
    }

    /// Keys that name a special token, by its text or as an object.
    private static let roles = [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ]

    /// Lengths beyond this mean that there is no bound.
    private static let longest = 1 << 24

    /// A token that a key names, and how it is looked for in texts.
    private struct Special {
        let role: String
        let content: String
        var isSingleWord = false, stripsLeft = false, stripsRight = false, isNormalised = false
        /// Whether the file says more of it than its text.
        var isDescribed = false

        func entry(id: Int) -> AddedTokens.Entry {
            AddedTokens.Entry(
                id: id, content: content, isSpecial: true, isSingleWord: isSingleWord, stripsLeft: stripsLeft,
                stripsRight: stripsRight, isNormalised: isNormalised)
        }
    }

    private static func specials(_ json: JSONObject) throws(DiffError) -> [Special] {
        var named: [(role: String, value: JSON)] = []
        for role in roles.each { if let value = json.value(role) { named.append((role, value)) } }
        if case .array(let others)? = json.value("additional_special_tokens") {
            for other in others.each { named.append(("", other)) }
        }
        var specials: [Special] = []
        for (role, value) in named.each {
            switch value {
            case .string(let text): specials.append(Special(role: role, content: text))
            case .object:
                let token = try JSONObject(value, source: json.source)
                specials.append(
                    Special(
                        role: role, content: try token.string("content"),
                        isSingleWord: try token.bool("single_word", default: false),
                        stripsLeft: try token.bool("lstrip", default: false),
                        stripsRight: try token.bool("rstrip", default: false),
                        isNormalised: try token.bool("normalized", default: false), isDescribed: true))
            default: throw DiffError(.format, "\(json.source): a special token must be a text or an object with one")
            }
        }
        return specials
    }

    /// The text of the token that `role` names, such as `pad_token`.
    func token(_ role: String) -> String? { specials.each.first { $0.role == role }?.content }

    /// The token that `role` names, where a file says how it is looked for; nil: none does.
    func described(_ role: String, id: Int) -> AddedTokens.Entry? {
        specials.each.first { $0.role == role && $0.isDescribed }?.entry(id: id)
    }

    /// `entries` with what the neighbours add. Throws `format` when two files disagree about a token's id.
    func completed(
        _ entries: [AddedTokens.Entry], _ vocabulary: [(token: String, id: Int)]
    ) throws(DiffError) -> [AddedTokens.Entry] {
        guard !added.isEmpty || !specials.isEmpty else { return entries }
        var known: [[UInt8]: Int] = [:]
        for entry in vocabulary.each { known.put(entry.id, for: entry.token.bytes) }
        var (all, positions): ([AddedTokens.Entry], [[UInt8]: Int]) = ([], [:])
        var owners: [Int: String] = [:]
        func append(_ entry: AddedTokens.Entry) {
            positions.put(all.count, for: entry.content.bytes)
            owners.put(entry.content, for: entry.id)
            all.append(entry)
        }
        for entry in entries.each { append(entry) }
        for (file, entry) in added.each {
            let name = entry.content.bytes
            let position = positions[name]
            if let id = position.flatMap({ all.at($0)?.id }) ?? known[name], id != entry.id {
                throw DiffError(
                    .format,
                    "\(file): the token \"\(entry.content)\" has the id \(entry.id), elsewhere in the folder \(id); take all of the "
                        + "tokenizer's files from one checkpoint")
            }
            if let owner = owners[entry.id], !owner.utf8.elementsEqual(entry.content.utf8) {
                throw DiffError(
                    .format,
                    "\(file): \"\(entry.content)\" and \"\(owner)\" both have the id \(entry.id); take all of the "
                        + "tokenizer's files from one checkpoint")
            }
            if let position {
                if entry.isSpecial { all.update(at: position) { $0 = $0.special } }
            } else {
                append(entry)
            }
        }
        var own: [[UInt8]: Int] = [:]
        for special in specials.each {
            let name = special.content.bytes
            if let position = own[name] {
                all.update(at: position) { $0 = special.entry(id: $0.id) }
            } else if let position = positions[name] {
                all.update(at: position) { $0 = $0.special }
            } else if let id = known[name], !name.isEmpty {
                own.put(all.count, for: name)
                append(special.entry(id: id))
            }
        }
        return all.sorted { $0.id < $1.id }
    }
}

extension AddedTokens.Entry {
    /// The same as a special token.
    fileprivate var special: Self {
        Self(
            id: id, content: content, isSpecial: true, isSingleWord: isSingleWord, stripsLeft: stripsLeft,
            stripsRight: stripsRight, isNormalised: isNormalised)
    }
}
