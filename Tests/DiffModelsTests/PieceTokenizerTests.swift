import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation
import TestSupport
import Testing

/// Tokenizers of pieces: what a vocabulary makes of texts, and files of both kinds that are refused.
@Suite struct PieceTokenizerTests {
    private static let pieces: [(String, Double)] = [
        ("<pad>", 0), ("</s>", 0), ("<unk>", 0), ("▁", -2), ("a", -3), ("b", -3.5), ("▁a", -2.5), ("ab", -4),
        ("▁ab", -9), ("<0xC3>", 0), ("<0xA9>", 0),
    ]

    private func json(
        _ changes: String = "", model: String = "", pieces: [(String, Double)] = Self.pieces,
        normalizer: String = "null", preTokenizer: String = #"{"type":"Metaspace"}"#
    ) -> String {
        let vocabulary = pieces.map { "[\"\($0)\",\($1)]" }.joined(separator: ",")
        return """
            {"model":{"type":"Unigram","unk_id":2,"vocab":[\(vocabulary)]\(model)},"normalizer":\(normalizer),
             "added_tokens":[{"id":1,"content":"</s>","special":true,"normalized":false}],
             "pre_tokenizer":\(preTokenizer),"decoder":{"type":"Metaspace"},
             "post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{}},{"SpecialToken":{"id":"</s>"}}],
             "special_tokens":{"</s>":{"ids":[1]}}}\(changes)}
            """
    }

    private func tokenizer(_ text: String) throws -> Tokenizer {
        try Tokenizer(JSONObject(JSON(parsing: text, source: "tokenizer.json"), source: "tokenizer.json"))
    }

    @Test func theLikeliestPiecesWin() throws {
        let tokenizer = try tokenizer(json())
        // "▁a" with "b" and "▁" with "ab" are as likely, the whole word is not: of equals the longer last piece is taken.
        #expect(try tokenizer.encode("ab", addsSpecial: true).map(\.id) == [3, 7, 1])
        // Characters without a piece are one token as long as they stand together.
        #expect(try tokenizer.encode("aéüb").map(\.id) == [6, 2, 5])
        #expect(try tokenizer.encode("a  b").map(\.id) == [6, 3, 3, 5])
        let offsets = try tokenizer.encode("a éb").map(\.bytes)
        #expect(offsets == [0..<1, 1..<2, 2..<4, 4..<5])
        #expect(tokenizer.decode([6, 5, 6, 1, 4]) == "ab aa")
    }

    /// Bytes never go back, also where one character became several words, whose marks are not in the text.
    @Test func offsetsNeverDecrease() throws {
        let words = #"{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace"}]}"#
        let tokenizer = try tokenizer(
            json(
                normalizer: ##"{"type":"Replace","pattern":{"String":"#"},"content":"é b a"}"##, preTokenizer: words))
        let tokens = try tokenizer.encode("a## é#")
        var (first, last) = (0, 0)
        for token in tokens {
            #expect(token.bytes.lowerBound >= first && token.bytes.upperBound >= last, "\(tokens)")
            (first, last) = (token.bytes.lowerBound, token.bytes.upperBound)
        }
        #expect(last == 7 && tokens.count > 12)
    }

    @Test func controlsAreTextUnlessAllowed() throws {
        let tokenizer = try tokenizer(json())
        #expect(try tokenizer.encode("a</s>", allowsControl: true).map(\.id) == [6, 1])
        #expect(try !tokenizer.encode("a</s>").map(\.id).contains(1))
        // Not by a detour through what texts are changed to either.
        let full = try self.tokenizer(
            json(normalizer: ##"{"type":"Replace","pattern":{"String":"#"},"content":"</s>"}"##))
        #expect(try !full.encode("a#").map(\.id).contains(1))
        #expect(try full.encode("a#", allowsControl: true).map(\.id) == [6, 1])
    }

    @Test func bytesStandForWhatHasNoPiece() throws {
        let tokenizer = try tokenizer(json(model: #","byte_fallback":true"#))
        #expect(try tokenizer.encode("aé").map(\.id) == [6, 9, 10])
        // One byte without a token, and all of the stretch is unknown.
        #expect(try tokenizer.encode("aéü").map(\.id) == [6, 2])
    }

    @Test(arguments: [
        #"{"model":{"type":"Unigram","vocab":[["a",0]]}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[]}}"#,
        #"{"model":{"type":"Unigram","unk_id":1,"vocab":[["a",0]]}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",0],["",1]]}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a"]]}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a","b"]]}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",NaN]]}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1e999]]}}"#,
        #"{"model":{"type":"WordPiece","vocab":{}}}"#,
    ])
    func badVocabulariesAreRefused(_ text: String) {
        #expect(throws: DiffError.self) { _ = try tokenizer(text) }
    }

    @Test(arguments: [
        #"{"type":"NFKC"}"#, #"{"type":"Precompiled"}"#, #"{"type":"Precompiled","precompiled_charsmap":"A"}"#,
        #"{"type":"Precompiled","precompiled_charsmap":"AAAA"}"#,
        #"{"type":"Precompiled","precompiled_charsmap":"AwAAAAAAAAA="}"#,
        #"{"type":"Precompiled","precompiled_charsmap":"////fwAAAAA="}"#,
        #"{"type":"Precompiled","precompiled_charsmap":"BAAAAAAAAAD/"}"#,
    ])
    func otherNormalizersAreRefused(_ normalizer: String) {
        #expect(throws: DiffError.self) { _ = try tokenizer(json(normalizer: normalizer)) }
    }

    @Test(arguments: [
        #"{"type":"ByteLevel"}"#, #"{"type":"Metaspace","replacement":"ab"}"#,
        #"{"type":"Metaspace","prepend_scheme":"second"}"#,
        #"{"type":"Sequence","pretokenizers":[{"type":"Metaspace"},{"type":"WhitespaceSplit"}]}"#,
    ])
    func otherPreTokenizersAreRefused(_ words: String) {
        #expect(throws: DiffError.self) { _ = try tokenizer(json(preTokenizer: words)) }
    }

    // MARK: spiece.model

    private func varint(_ value: UInt64) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f | 0x80)] + varint(value >> 7)
    }

    private func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
    }

    private func field(_ number: UInt64, _ value: UInt64) -> [UInt8] { varint(number << 3) + varint(value) }

    private func model(
        _ pieces: [(String, Double)] = Self.pieces, trainer: [UInt8] = [], normalizer: [UInt8] = []
    ) -> [UInt8] {
        var file: [UInt8] = []
        for (text, score) in pieces {
            let bits = Float(score).bitPattern
            let number = (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
            file += field(1, field(1, Array(text.utf8)) + varint(2 << 3 | 5) + number)
        }
        return file + field(2, field(3, 1) + field(40, 2) + field(41, UInt64.max) + trainer) + field(3, normalizer)
    }

    private func folder(_ model: [UInt8], _ config: String? = nil) throws -> ScratchDirectory {
        let directory = try ScratchDirectory()
        try Data(model).write(to: URL(fileURLWithPath: directory.file("spiece.model")))
        if let config {
            try Data(config.utf8).write(to: URL(fileURLWithPath: directory.file("tokenizer_config.json")))
        }
        return directory
    }

    private func read(_ model: [UInt8], _ config: String? = nil) throws -> PromptTokenizer {
        let directory = try folder(model, config)
        return try withExtendedLifetime(directory) {
            try #require(try PromptTokenizer(in: Directory(path: directory.path)))
        }
    }

    @Test func extraTokensFollowThePieces() throws {
        let prompts = try read(model())
        #expect(prompts.tokenizer.vocabulary == Self.pieces.count + 100 && prompts.padding == 0)
        #expect(try prompts.row("ab <extra_id_99> a", length: 6).ids == [3, 7, Self.pieces.count, 6, 1, 0])
        let few = try read(model(), #"{"extra_ids":2,"model_max_length":9}"#)
        #expect(few.tokenizer.vocabulary == Self.pieces.count + 2 && few.maxLength == 9)
        #expect(few.tokenizer.id(of: "<extra_id_0>") == Self.pieces.count + 1)
        #expect(try few.row("a b", length: 1).ids == [1])
    }

    @Test func otherModelsAreRefused() throws {
        for (trainer, normalizer, word) in [
            (field(3, 2), [], "model_type"), (field(24, 1), [], "treat_whitespace_as_suffix"),
            ([], field(3, 0), "add_dummy_prefix"), ([], field(4, 0), "remove_extra_whitespaces"),
            ([], field(5, 0), "escape_whitespaces"), (field(40, 4000), [], "unknown"),
            (field(40, UInt64.max), [], "unk_id"), ([], field(2, [1, 2, 3]), "bytes"),
        ] as [([UInt8], [UInt8], String)] {
            let error = #expect(throws: DiffError.self) { try read(model(trainer: trainer, normalizer: normalizer)) }
            #expect(error?.message.contains(word) ?? false, "\(error?.message ?? word)")
        }
        for pieces in [[("a", 0)], Self.pieces + [("b", .infinity)], Self.pieces + [("", 0)]] as [[(String, Double)]] {
            #expect(throws: DiffError.self) { try read(model(pieces)) }
        }
        #expect(throws: DiffError.self) { try read(model(), #"{"eos_token":"<end>"}"#) }
    }

    /// A file may end anywhere and have any byte: it is read, or refused with a text.
    @Test func damagedModelsAreReadOrRefused() throws {
        let whole = model(normalizer: field(1, Array("nmt_nfkc".utf8)))
        let directory = try folder(whole)
        let path = try directory.file("spiece.model")
        func attempt(_ bytes: [UInt8]) throws {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            do throws(DiffError) {
                if let prompts = try PromptTokenizer(in: Directory(path: directory.path)) {
                    _ = try prompts.row("ab <unk> é", length: 8)
                }
            } catch {
                #expect([.format, .unsupported].contains(error.code), "\(error)")
            }
        }
        for count in whole.indices { try attempt(Array(whole.prefix(count))) }
        for index in whole.indices {
            for byte in [0, 0x7f, 0x80, 0xff] as [UInt8] {
                var damaged = whole
                damaged[index] = byte
                try attempt(damaged)
            }
        }
    }

    @Test func longTextsEnd() throws {
        let prompts = try read(model())
        for piece in ["a", "ab ", "é", " ", "▁", "</s>", "\r\n", "👩‍👩‍👧", "a\u{301}"] {
            let text = String(repeating: piece, count: (piece == "a" ? 1_000_000 : 50_000) / piece.unicodeScalars.count)
            let row = try prompts.row(text, length: 256)
            #expect(row.ids.count == 256 && (row.cut != nil || !row.mask.allSatisfy { $0 }), "\(piece)")
        }
    }
}
