import DiffCheckpoint
import DiffModels
import DiffTensor

/// `text-tokenizer-unigram`: T5's tokenizer in the layouts of its files, text by text and in batches.
enum GoldenUnigram {
    private static let limits = JSON.Limits(values: 10_000_000)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let cases = try JSONObject(
            JSON(contentsOf: "\(fixture.path)/cases.json", limits: limits), source: "\(fixture.name)/cases.json")
        let folders = try fixture.config.object("tokenizers")
        for name in folders.keys {
            let folder = "\(fixture.path)/\(try folders.object(name).string("folder", default: name))"
            guard let prompts = try PromptTokenizer(in: Directory(path: folder)) else {
                report.fail(name, "not recognised")
                continue
            }
            let size = try folders.object(name).integer("vocab_size", in: 1...1 << 24)
            report.verify(
                "\(name).vocabulary", prompts.tokenizer.vocabulary == size ? nil : "\(prompts.tokenizer.vocabulary)")
            try texts(name, prompts.tokenizer, try cases.object("cases").objects(name), true, &report)
            for (number, batch) in try cases.object("batches").objects(name).enumerated() {
                try check(batch, "\(name).batch[\(number)]", prompts, &report)
            }
            // The same pieces in the file that they were trained into.
            guard try !Directory.isAbsent("\(folder)/spiece.model") else { continue }
            let scratch = try ScratchLink(of: folder, without: "tokenizer.json")
            guard let own = try PromptTokenizer(in: Directory(path: scratch.path, followingLinks: true)) else {
                report.fail("\(name).spiece", "not recognised")
                continue
            }
            try texts("\(name).spiece", own.tokenizer, try cases.object("cases").objects(name), true, &report)
        }
    }

    private static func texts(
        _ name: String, _ tokenizer: Tokenizer, _ cases: [JSONObject], _ decodes: Bool, _ report: inout GoldenReport
    ) throws {
        for (number, item) in cases.enumerated() {
            let text = try item.string("text")
            let tokens = try tokenizer.encode(text, addsSpecial: true, allowsControl: true)
            let ids = try item.integers("ids", in: 0...1 << 24)
            let place = "\(name)[\(number)]"
            report.verify(
                place, tokens.map(\.id) == ids ? nil : "\(text.debugDescription): \(tokens.map(\.id)), recorded \(ids)")
            let decoded = try item.string("decoded")
            let found = tokenizer.decode(ids)
            report.verify(
                "\(place).decoded",
                Array(found.utf8) == Array(decoded.utf8)
                    ? nil : "\(ids): \(found.debugDescription), recorded \(decoded.debugDescription)")
        }
    }

    private static func check(
        _ batch: JSONObject, _ place: String, _ prompts: PromptTokenizer, _ report: inout GoldenReport
    ) throws {
        let texts = try batch.strings("texts")
        let length = try batch.integer("max_length", in: 1...1 << 20)
        var rows = try texts.map { try prompts.row($0, length: length, pads: false) }
        let longest = rows.map(\.count).max() ?? 0
        let target = try batch.string("padding") == "longest" ? longest : length
        rows = try texts.map { try prompts.row($0, length: target) }
        for (key, found) in [
            ("ids", rows.map(\.ids)), ("attention_mask", rows.map { row in row.mask.map { $0 ? 1 : 0 } }),
        ] {
            let recorded = try batch.array(key).map { value -> [Int] in
                guard case .array(let row) = value else { return [] }
                return row.compactMap(\.asInteger)
            }
            report.verify("\(place).\(key)", found == recorded ? nil : "\(found), recorded \(recorded)")
        }
    }
}
