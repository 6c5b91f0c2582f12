import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation

/// `text-tokenizer-roberta`: RoBERTa's tokenizer as CLAP has it, out of both forms of its files.
enum GoldenRoberta {
    // Not by the library's reader: texts may have NULs, which it refuses.
    private struct Cases: Decodable {
        let cases: [GoldenTokens.Case], batches: [GoldenTokens.Batch]
    }

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let file = URL(fileURLWithPath: "\(fixture.path)/cases.json")
        let recorded = try JSONDecoder().decode(Cases.self, from: Data(contentsOf: file))
        let folder = "\(fixture.path)/tokenizer"
        let apart = try ScratchLink(of: folder, without: "tokenizer.json")
        for (name, path) in [("tokenizer.json", folder), ("vocab.json", apart.path)] {
            guard let prompts = try PromptTokenizer(in: Directory(path: path, followingLinks: true)) else {
                report.fail(name, "not recognised")
                continue
            }
            let size = try fixture.config.integer("vocab_size", in: 1...1 << 24)
            report.verify(
                "\(name).vocabulary", prompts.tokenizer.vocabulary == size ? nil : "\(prompts.tokenizer.vocabulary)")
            let length = try fixture.config.integer("model_max_length", in: 1...1 << 24)
            report.verify("\(name).model_max_length", prompts.maxLength == length ? nil : "\(prompts.maxLength ?? 0)")
            try GoldenTokens.texts(name, prompts.tokenizer, recorded.cases, &report)
            for (number, batch) in recorded.batches.enumerated() {
                try GoldenTokens.check(batch, "\(name).batch[\(number)]", prompts, &report)
            }
        }
    }
}
