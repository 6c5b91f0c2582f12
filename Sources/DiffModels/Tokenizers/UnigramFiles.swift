import DiffCheckpoint
import DiffTensor

/// Files of tokenizers whose words are cut into the likeliest pieces: T5's.
extension Tokenizer {
    /// Reads a `tokenizer.json` whose model is of the kind Unigram. Throws `format`, `unsupported`.
    convenience init(
        unigram json: JSONObject, beside neighbours: TokenizerNeighbours, controls: [Int]
    ) throws(DiffError) {
        let model = try json.object("model")
        var pieces: [(piece: String, score: Double)] = []
        let entries = try model.array("vocab")
        for (id, entry) in entries.numbered {
            guard case .array(let pair) = entry, pair.count == 2, case .string(let piece)? = pair.first,
                let score = pair.last?.asDouble
            else { throw model.error("vocab[\(id)]", "expected a piece and its score") }
            pieces.append((piece, score))
        }
        var added: [AddedTokens.Entry] = []
        for entry in try json.objects("added_tokens").each {
            added.append(try Self.added(entry, id: entry.integer("id", in: 0...Int(Int32.max))))
        }
        try self.init(
            pieces, unknown: model.integer("unk_id", in: 0...max(0, pieces.count &- 1)),
            fallsBackToBytes: model.bool("byte_fallback", default: false), added: added, beside: neighbours,
            controls: controls, normalizer: Normalizer(json.optionalObject("normalizer")),
            marks: SpaceMarks.reading(json.optionalObject("pre_tokenizer")),
            template: Self.template(json.optionalObject("post_processor")),
            decoder: PieceDecoder(json.optionalObject("decoder")), source: model.place)
    }

    /// Reads a `spiece.model` of T5, and puts the ids of `<extra_id_0>` and so on behind its pieces, the last of them first, as published
    /// tokenizers do. Throws `format`, `unsupported`.
    convenience init(
        sentencePiece bytes: [UInt8], beside neighbours: TokenizerNeighbours, controls: [Int]
    ) throws(DiffError) {
        let name = Self.sentencePieceFile
        let file = try SentencePieceFile(bytes, place: name)
        var pieces: [(piece: String, score: Double)] = []
        for piece in file.pieces.each { pieces.append((piece.text, piece.score)) }
        let extra = neighbours.extraTokens ?? Self.extraTokens
        for index in Indices(below: extra) { pieces.append(("<extra_id_\(extra &- 1 &- index)>", 0)) }
        var ids: [[UInt8]: Int] = [:]
        for (id, entry) in pieces.numbered { ids.put(id, for: entry.piece.bytes) }
        func id(_ role: String, _ published: String) throws(DiffError) -> (text: String, id: Int) {
            let text = neighbours.token(role) ?? published
            guard let id = ids[text.bytes] else {
                throw DiffError(
                    .format, "\(name): no piece \"\(text)\", which is the \(role): take all files from one checkpoint")
            }
            return (text, id)
        }
        let end = try id("eos_token", "</s>")
        var added: [AddedTokens.Entry] = []
        for (text, id) in try [id("pad_token", "<pad>"), end, id("unk_token", "<unk>")].each {
            guard !added.each.contains(where: { $0.id == id }) else { continue }
            added.append(AddedTokens.Entry(id: id, content: text, isSpecial: true))
        }
        for index in Indices(below: extra) {
            let id = file.pieces.count &+ index
            added.append(AddedTokens.Entry(id: id, content: "<extra_id_\(extra &- 1 &- index)>", isSpecial: true))
        }
        for (id, piece) in file.pieces.numbered where piece.kind == .userDefined {
            added.append(AddedTokens.Entry(id: id, content: piece.text, isSpecial: false))
        }
        let map = file.characterMap
        try self.init(
            pieces, unknown: file.unknown, fallsBackToBytes: file.fallsBackToBytes, added: added, beside: neighbours,
            controls: controls, normalizer: map.isEmpty ? .none : Normalizer([.map(try CharacterMap(map, name))]),
            marks: .t5, template: [nil, end.id],
            decoder: PieceDecoder([.bytes, .marks(0x2581, dropsFirst: true)]), source: name)
    }

    @inline(never)
    private static func vocabulary(_ pieces: [(piece: String, score: Double)]) -> [(token: String, id: Int)] {
        var vocabulary: [(token: String, id: Int)] = []
        for (id, entry) in pieces.numbered { vocabulary.append((entry.piece, id)) }
        return vocabulary
    }

    static let sentencePieceFile = "spiece.model"
    /// Tokens that T5 puts behind its pieces, where `tokenizer_config.json` says nothing of `extra_ids`.
    private static let extraTokens = 100

    private convenience init(
        _ pieces: [(piece: String, score: Double)], unknown: Int, fallsBackToBytes: Bool,
        added: [AddedTokens.Entry], beside neighbours: TokenizerNeighbours, controls: [Int], normalizer: Normalizer,
        marks: SpaceMarks, template: Template, decoder: PieceDecoder, source: String
    ) throws(DiffError) {
        guard neighbours.prefixesSpace ?? true else {
            throw DiffError(
                .unsupported,
                "tokenizer_config.json: add_prefix_space: false: pieces of a text's first word begin with a space; set it to true"
            )
        }
        let vocabulary = Self.vocabulary(pieces)
        let parts = Parts(vocabulary, try neighbours.completed(added, vocabulary), controls)
        let model = try locating(source) { () throws(DiffError) in
            try UnigramModel(
                pieces, unknown: unknown, fallsBackToBytes: fallsBackToBytes, controls: parts.controls)
        }
        try self.init(
            model: .unigram(model, marks), parts: parts, normalizer: normalizer, template: template,
            decoder: .pieces(decoder), chatTemplate: neighbours.chatTemplate)
    }
}
