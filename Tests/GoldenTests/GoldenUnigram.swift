import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation

/// `text-tokenizer-unigram`: T5's tokenizer in the layouts of its files, text by text and in batches.
enum GoldenUnigram {
    private struct Case: Decodable {
        let text: String, ids: [Int], decoded: String
    }
    private struct Batch: Decodable {
        let texts: [String], max_length: Int, padding: String, ids: [[Int]], attention_mask: [[Int]]
    }
    // Not by the library's reader: the texts have NULs, which it refuses.
    private struct Cases: Decodable {
        let cases: [String: [Case]], batches: [String: [Batch]]
    }

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let file = URL(fileURLWithPath: "\(fixture.path)/cases.json")
        let recorded = try JSONDecoder().decode(Cases.self, from: Data(contentsOf: file))
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
            let cases = recorded.cases[name] ?? []
            try texts(name, prompts.tokenizer, cases, &report)
            for (number, batch) in (recorded.batches[name] ?? []).enumerated() {
                try check(batch, "\(name).batch[\(number)]", prompts, &report)
            }
            // The same pieces in the file that they were trained into.
            guard try !Directory.isAbsent("\(folder)/spiece.model") else { continue }
            let scratch = try ScratchLink(of: folder, without: "tokenizer.json")
            guard let own = try PromptTokenizer(in: Directory(path: scratch.path, followingLinks: true)) else {
                report.fail("\(name).spiece", "not recognised")
                continue
            }
            try texts("\(name).spiece", own.tokenizer, cases, &report)
        }
    }

    private static func texts(
        _ name: String, _ tokenizer: Tokenizer, _ cases: [Case], _ report: inout GoldenReport
    ) throws {
        for (number, item) in cases.enumerated() {
            let place = "\(name)[\(number)] \(item.text.debugDescription)"
            let ids = try tokenizer.encode(item.text, addsSpecial: true, allowsControl: true).map(\.id)
            report.verify(place, ids == item.ids ? nil : "\(ids), recorded \(item.ids)")
            let found = tokenizer.decode(item.ids)
            report.verify(
                "\(place) decoded",
                found.utf8.elementsEqual(item.decoded.utf8)
                    ? nil : "\(found.debugDescription), recorded \(item.decoded.debugDescription)")
        }
    }

    private static func check(
        _ batch: Batch, _ place: String, _ prompts: PromptTokenizer, _ report: inout GoldenReport
    ) throws {
        let rows = try batch.texts.map { try prompts.row($0, length: batch.max_length, pads: false) }
        let longest = rows.map(\.count).max() ?? 0
        let length = batch.padding == "longest" ? longest : batch.max_length
        let padded = try batch.texts.map { try prompts.row($0, length: length) }
        report.verify(
            "\(place).ids", padded.map(\.ids) == batch.ids ? nil : "\(padded.map(\.ids)), recorded \(batch.ids)")
        let masks = padded.map { row in row.mask.map { $0 ? 1 : 0 } }
        report.verify(
            "\(place).mask", masks == batch.attention_mask ? nil : "\(masks), recorded \(batch.attention_mask)")
    }
}
