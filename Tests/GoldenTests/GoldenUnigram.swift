import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation

/// `text-tokenizer-unigram`: T5's tokenizer in the layouts of its files, text by text and in batches.
enum GoldenUnigram {
    // Not by the library's reader: the texts have NULs, which it refuses.
    private struct Cases: Decodable {
        let cases: [String: [GoldenTokens.Case]], batches: [String: [GoldenTokens.Batch]]
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
            try GoldenTokens.texts(name, prompts.tokenizer, cases, &report)
            for (number, batch) in (recorded.batches[name] ?? []).enumerated() {
                try GoldenTokens.check(batch, "\(name).batch[\(number)]", prompts, &report)
            }
            // The same pieces in the file that they were trained into.
            guard try !Directory.isAbsent("\(folder)/spiece.model") else { continue }
            let scratch = try ScratchLink(of: folder, without: "tokenizer.json")
            guard let own = try PromptTokenizer(in: Directory(path: scratch.path, followingLinks: true)) else {
                report.fail("\(name).spiece", "not recognised")
                continue
            }
            try GoldenTokens.texts("\(name).spiece", own.tokenizer, cases, &report)
        }
    }
}
