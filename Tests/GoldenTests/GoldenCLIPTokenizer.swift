import DiffCheckpoint
import DiffModels
import DiffTensor

/// `sd-tokenizer`: prompts as rows of CLIP's tokens. Those of the published vocabulary are checked in Python, where it is to be had.
enum GoldenCLIPTokenizer {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        guard let prompts = try PromptTokenizer(in: Directory(path: "\(fixture.path)/tokenizer")) else {
            return report.fail("tokenizer", "not recognised")
        }
        let cases = try JSONObject(
            JSON(contentsOf: "\(fixture.path)/cases.json"), source: "\(fixture.name)/cases.json")
        let tiny = try cases.object("tiny")
        let length = try tiny.integer("max_length", in: 1...1000)
        report.verify("model_max_length", prompts.maxLength == length ? nil : "\(prompts.maxLength ?? 0)")
        for (number, item) in try tiny.objects("cases").enumerated() {
            let text = try item.string("text")
            let row = try prompts.row(text, length: length)
            // Tokenizers that repair texts in different ways are all published ones.
            let accepted = try ["ids", "ids_noftfy", "ids_fast"].filter { item.has($0) }.map {
                try item.integers($0, in: 0...1 << 20)
            }
            report.verify(
                "tiny[\(number)]",
                accepted.contains(row.ids) ? nil : "\(text.debugDescription): \(row.ids), recorded \(accepted)")
        }
    }
}
