import DiffCheckpoint
import DiffModels
import DiffTensor

/// Texts with the tokens that a reference makes of them, one by one and in batches.
enum GoldenTokens {
    struct Case: Decodable {
        let text: String, ids: [Int], decoded: String
    }
    struct Batch: Decodable {
        let texts: [String], max_length: Int, padding: String, ids: [[Int]], attention_mask: [[Int]]
    }

    static func texts(
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

    static func check(
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
