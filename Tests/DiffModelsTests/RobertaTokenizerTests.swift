import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation
import TestSupport
import Testing

/// RoBERTa's tokenizer out of `vocab.json` and `merges.txt`, beside what the golden sets record.
@Suite struct RobertaTokenizerTests {
    private static let words = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "A", "Ġ", "'", "s", "Ġa", "ab", "<mask>"]
    private static let merges = ["#version: 0.2", "Ġ a", "a b"]

    private static var vocabulary: [String: JSON] {
        Dictionary(uniqueKeysWithValues: words.enumerated().map { ($1, .integer($0)) })
    }

    private func tokenizer(
        _ config: [String: JSON] = ["tokenizer_class": .string("RobertaTokenizer")],
        vocabulary: [String: JSON] = Self.vocabulary, merges: [String] = Self.merges
    ) throws -> PromptTokenizer {
        let directory = try ScratchDirectory()
        try directory.write(.object(vocabulary), as: "vocab.json")
        try directory.write(.object(config), as: "tokenizer_config.json")
        try Data(merges.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: directory.file("merges.txt")))
        return try withExtendedLifetime(directory) {
            try #require(try PromptTokenizer(in: Directory(path: directory.path)))
        }
    }

    private func refuses(_ code: DiffError.Code, _ part: String, _ body: () throws -> Void) {
        let error = #expect(throws: DiffError.self) { try body() }
        #expect(error?.code == code && error?.message.contains(part) ?? false, "\(error?.message ?? "none: \(part)")")
    }

    @Test func caseAndSpacesStay() throws {
        let prompts = try tokenizer()
        #expect(prompts.padding == 1 && prompts.specials == 2 && prompts.maxLength == nil)
        #expect(try prompts.row("ab a", length: 6).ids == [0, 11, 10, 2, 1, 1])
        #expect(try prompts.row("A  a's", length: 8).ids == [0, 6, 7, 10, 8, 9, 2, 1])
        #expect(try prompts.row("", length: 2).ids == [0, 2])
        // The end of a text stays where it is cut.
        let cut = try prompts.row("ab a b", length: 4)
        #expect(cut.ids == [0, 11, 10, 2] && cut.cut == 4..<6)
        // Special tokens that a text spells out, of which a mask takes the space before it along.
        #expect(try prompts.row("a  <mask> </s>", length: 9, pads: false).ids == [0, 4, 12, 7, 2, 2])
    }

    @Test func theVocabularyTellsWhoseItIsAndFilesDescribeTokens() throws {
        #expect(try tokenizer([:]).row("ab", length: 3).ids == [0, 11, 2])
        let mask: JSON = .object(["content": .string("<mask>"), "lstrip": .bool(false)])
        let described = try tokenizer(["tokenizer_class": .string("RobertaTokenizerFast"), "mask_token": mask])
        #expect(try described.row("a <mask>", length: 9, pads: false).ids == [0, 4, 7, 12, 2])
        let prefixed = try tokenizer(["add_prefix_space": .bool(true), "model_max_length": .integer(7)])
        #expect(try prefixed.row("ab", length: 9, pads: false).ids == [0, 10, 5, 2] && prefixed.maxLength == 7)
    }

    @Test func filesThatDoNotFitAreRefused() throws {
        refuses(.format, "mask_token") {
            _ = try tokenizer(["mask_token": .string("<m>"), "tokenizer_class": "RobertaTokenizer"])
        }
        var short = Self.vocabulary
        short["ab"] = nil
        refuses(.format, "merge 1") { _ = try tokenizer(vocabulary: short) }
        short = Self.vocabulary
        short["</s>"] = nil
        refuses(.format, "sep_token") { _ = try tokenizer(vocabulary: short) }
        refuses(.format, "line 2") { _ = try tokenizer(merges: ["#version: 0.2", "a"]) }
        refuses(.unsupported, "padding_side") { _ = try tokenizer(["padding_side": .string("left")]) }
    }
}
