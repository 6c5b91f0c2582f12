import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation
import TestSupport
import Testing

/// Rows of tokens for text encoders: CLIP's files and T5's, what of a prompt is kept, what is refused.
@Suite struct PromptTokenizerTests {
    private static let words = ["a", "b", "'", "s", "!", "a</w>", "b</w>", "s</w>", "!</w>", "ab</w>", "'s</w>"]
    private static let merges = ["#version: 0.2", "a b</w>", "' s</w>"]
    private static let (start, end) = (11, 12)

    private static var vocabulary: [String: JSON] {
        let tokens = words + ["<|startoftext|>", "<|endoftext|>"]
        return Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, .integer($0)) })
    }

    private func folder(_ files: [String: JSON], _ texts: [String: String] = [:]) throws -> ScratchDirectory {
        let directory = try ScratchDirectory()
        for (name, json) in files { try directory.write(json, as: name) }
        for (name, text) in texts { try Data(text.utf8).write(to: URL(fileURLWithPath: directory.file(name))) }
        return directory
    }

    private func clip(
        _ config: [String: JSON] = [:], vocabulary: [String: JSON] = Self.vocabulary, merges: [String] = Self.merges
    ) throws -> PromptTokenizer {
        let whole = config.merging(["tokenizer_class": .string("CLIPTokenizer")]) { given, _ in given }
        let directory = try folder(
            ["vocab.json": .object(vocabulary), "tokenizer_config.json": .object(whole)],
            ["merges.txt": merges.joined(separator: "\n")])
        return try withExtendedLifetime(directory) {
            try #require(try PromptTokenizer(in: Directory(path: directory.path)))
        }
    }

    private func refuses(_ code: DiffError.Code, _ part: String, _ body: () throws -> Void) {
        let error = #expect(throws: DiffError.self) { try body() }
        #expect(error?.code == code && error?.message.contains(part) ?? false, "\(error?.message ?? "none: \(part)")")
    }

    @Test func promptsStandBetweenTheirSpecialTokens() throws {
        let prompts = try clip(["model_max_length": .integer(7)])
        #expect(prompts.maxLength == 7 && prompts.padding == Self.end && prompts.specials == 2)
        let row = try prompts.row(" AB's\t\u{a0}b! ", length: 7)
        #expect(row.ids == [Self.start, 9, 10, 6, 8, Self.end, Self.end])
        #expect(row.count == 6 && row.cut == nil && row.mask == [true, true, true, true, true, true, false])
        #expect(try prompts.row("", length: 4).ids == [Self.start, Self.end, Self.end, Self.end])
        // What no word has becomes the end, as in the published readers.
        #expect(try prompts.row("z", length: 3).ids == [Self.start, Self.end, Self.end])
    }

    @Test func whatIsCutIsTold() throws {
        let prompts = try clip()
        let text = "ab  a b é a"
        let row = try prompts.row(text, length: 4)
        #expect(row.ids == [Self.start, 9, 5, Self.end] && row.count == 4 && row.mask.allSatisfy { $0 })
        #expect(row.cut == 6..<text.utf8.count)
        #expect(try prompts.row(text, length: 2).cut == 0..<text.utf8.count)
        #expect(try prompts.row("ab a", length: 4).cut == nil)
        #expect(try prompts.row("ab", length: 9, pads: false).ids == [Self.start, 9, Self.end])
        for length in [-1, 0, 1] { refuses(.invalidArgument, "length") { _ = try prompts.row("a", length: length) } }
    }

    /// The token that pads is special: where a prompt spells it out it is that token, not the one of the same look at a word's end.
    @Test func paddingIsTheConfigs() throws {
        let prompts = try clip(["pad_token": .string("!")])
        #expect(prompts.padding == 4)
        #expect(try prompts.row("a!", length: 6).ids == [Self.start, 5, 4, Self.end, 4, 4])
        refuses(.format, "checkpoint") { _ = try clip(["pad_token": .string("<pad>")]) }
    }

    @Test func lengthsThatMeanNoneAreNone() throws {
        #expect(try clip().maxLength == nil)
        let (file, text) = ("tokenizer_config.json", #"{"model_max_length": 1000000000000000019884624838656}"#)
        let directory = try folder(
            ["vocab.json": .object(Self.vocabulary)], [file: text, "merges.txt": Self.merges.joined(separator: "\n")])
        // Without a class the ends of words tell whose vocabulary it is.
        let prompts = try withExtendedLifetime(directory) {
            try #require(try PromptTokenizer(in: Directory(path: directory.path)))
        }
        #expect(prompts.maxLength == nil)
        #expect(try prompts.row("ab", length: 3).ids == [Self.start, 9, Self.end])
    }

    /// The same tokenizer as one file.
    @Test func clipFromOneFile() throws {
        let model: [String: JSON] = [
            "type": .string("BPE"), "vocab": .object(Self.vocabulary), "end_of_word_suffix": .string("</w>"),
            "unk_token": .string("<|endoftext|>"),
            "merges": .array(Self.merges.dropFirst().map { .string($0) }),
        ]
        let words = #"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"#
        func special(_ token: String, _ id: Int) -> JSON {
            .object(["id": .integer(id), "content": .string(token), "special": .bool(true), "normalized": .bool(false)])
        }
        let json: JSON = .object([
            "model": .object(model),
            "added_tokens": .array([special("<|startoftext|>", Self.start), special("<|endoftext|>", Self.end)]),
            "normalizer": .object([
                "type": .string("Sequence"),
                "normalizers": .array([
                    .object(["type": .string("NFC")]),
                    .object([
                        "type": .string("Replace"), "pattern": .object(["Regex": .string(#"\s+"#)]),
                        "content": .string(" "),
                    ]), .object(["type": .string("Lowercase")]),
                ]),
            ]),
            "pre_tokenizer": .object([
                "type": .string("Sequence"),
                "pretokenizers": .array([
                    .object([
                        "type": .string("Split"), "pattern": .object(["Regex": .string(words)]),
                        "behavior": .string("Removed"), "invert": .bool(true),
                    ]), .object(["type": .string("ByteLevel"), "add_prefix_space": .bool(false)]),
                ]),
            ]),
            "post_processor": .object([
                "type": .string("RobertaProcessing"),
                "sep": .array([.string("<|endoftext|>"), .integer(Self.end)]),
                "cls": .array([.string("<|startoftext|>"), .integer(Self.start)]),
            ]),
            "decoder": .object(["type": .string("ByteLevel")]),
        ])
        let directory = try folder(["tokenizer.json": json])
        let one = try withExtendedLifetime(directory) {
            try #require(try PromptTokenizer(in: Directory(path: directory.path)))
        }
        let two = try clip()
        for text in ["AB's  b!", "", "z\n ab", "<|endoftext|>a", "B\u{130}"] {
            #expect(try one.row(text, length: 9) == two.row(text, length: 9), "\(text)")
        }
        #expect(one.tokenizer.decode([9, 10, 8]) == "ab 's !")
    }

    @Test func clipFilesThatDoNotFitAreRefused() throws {
        refuses(.unsupported, "do_lower_case") { _ = try clip(["do_lower_case": .bool(false)]) }
        refuses(.unsupported, "add_prefix_space") { _ = try clip(["add_prefix_space": .bool(true)]) }
        refuses(.format, "bos_token") { _ = try clip(["bos_token": .string("<s>")]) }
        refuses(.format, "unknown token") { _ = try clip(["unk_token": .string("<unk>")]) }
        refuses(.unsupported, "padding_side") { _ = try clip(["padding_side": .string("left")]) }
        refuses(.format, "model_max_length") { _ = try clip(["model_max_length": .integer(0)]) }
        var short = Self.vocabulary
        short["ab</w>"] = nil
        refuses(.format, "merge 0") { _ = try clip(vocabulary: short) }
        refuses(.format, "line 2") { _ = try clip(merges: ["#version: 0.2", "a"]) }
        let empty = try ScratchDirectory()
        #expect(try PromptTokenizer(in: Directory(path: empty.path)) == nil)
    }

    /// Long prompts of every kind, as one word and as many; one of them of a million characters.
    @Test func longPromptsEnd() throws {
        let prompts = try clip(["pad_token": .string("!")])
        for piece in ["ab", "a b ", "!", "z", "\u{301}", "é\u{323} ", " ", "👩‍👩‍👧", "<|endoftext|>", "\u{130}"] {
            let length = piece == "ab" ? 1_000_000 : 50_000
            let text = String(repeating: piece, count: length / piece.unicodeScalars.count)
            let row = try prompts.row(text, length: 77)
            #expect(row.ids.count == 77 && row.ids.first == Self.start, "\(piece)")
            #expect(piece == " " || row.cut?.upperBound == text.utf8.count, "\(piece)")
        }
    }
}
