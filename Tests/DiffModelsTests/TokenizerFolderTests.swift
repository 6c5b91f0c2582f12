import DiffCheckpoint
import DiffModels
import DiffTensor
import Glibc
import Testing

/// Folders as they are published, and as other systems write them.
@Suite struct TokenizerFolderTests {
    private static let vocabulary = #"{"h":0,"e":1,"l":2,"he":3,"ll":4,"hell":5,"Ġ":6,"<|endoftext|>":7}"#
    private static let merges = ["#version: 0.2", "h e", "l l", "he ll"]

    private func tokenizer(_ files: [String: [UInt8]]) throws -> Tokenizer {
        var name = Array("/tmp/diffaccel-tokenizer-XXXXXX".utf8CString)
        let folder = try #require(mkdtemp(&name).map { String(cString: $0) })
        defer {
            for file in files.keys { unlink("\(folder)/\(file)") }
            rmdir(folder)
        }
        for (file, bytes) in files {
            let descriptor = open("\(folder)/\(file)", O_CREAT | O_WRONLY, 0o600)
            #expect(write(descriptor, bytes, bytes.count) == bytes.count)
            close(descriptor)
        }
        return try #require(try Tokenizer(in: Directory(path: folder)))
    }

    private func slow(_ merges: [UInt8], _ others: [String: String] = [:]) throws -> Tokenizer {
        var files = ["vocab.json": Array(Self.vocabulary.utf8), "merges.txt": merges]
        for (name, text) in others { files[name] = Array(text.utf8) }
        return try tokenizer(files)
    }

    @Test(arguments: ["\n", "\r\n", "\r"], [true, false])
    func linesEndAsOnAnySystem(_ end: String, _ isEnded: Bool) throws {
        for mark in ["", "\u{feff}"] {
            for blanks in ["", " ", "\t"] {
                let text = mark + Self.merges.joined(separator: blanks + end) + (isEnded ? end : "")
                #expect(try slow(Array(text.utf8)).encode("hell").map(\.id) == [5], "\(text.debugDescription)")
            }
        }
        #expect(throws: DiffError.self) { try slow(Array("h e\nl\u{301} l\n".utf8)) }
        #expect(throws: DiffError.self) { try slow(Array("h e\nh  e\n".utf8)) }
    }

    @Test func otherEncodingsAreNamed() throws {
        for bytes in [[0xff, 0xfe, 0x68, 0], [0xfe, 0xff, 0, 0x68], [0x68, 0x20, 0xe9, 0x0a]] as [[UInt8]] {
            let error = #expect(throws: DiffError.self) { try slow(bytes) }
            #expect(error?.code == .format && error?.message.contains("save") ?? false)
        }
    }

    @Test func neighboursAddTokens() throws {
        let merges = Array(Self.merges.joined(separator: "\n").utf8)
        let plain = try slow(merges)
        #expect(!plain.isSpecial(7))
        let map = try slow(
            merges, ["special_tokens_map.json": #"{"eos_token":{"content":"<|endoftext|>"},"pad_token":null}"#])
        #expect(map.isSpecial(7))
        #expect(try map.encode("<|endoftext|>", allowsControl: true).map(\.id) == [7])
        let added = try slow(
            merges,
            [
                "added_tokens.json": #"{"<|mask|>":9,"<tool>":10}"#,
                "tokenizer_config.json":
                    #"{"additional_special_tokens":["<|mask|>"],"added_tokens_decoder":{"11":{"content":"<x>","special":true}}}"#,
            ])
        #expect(added.isSpecial(9) && !added.isSpecial(10) && added.isSpecial(11))
        #expect(try added.encode("<|mask|>he<tool><x>", allowsControl: true).map(\.id) == [9, 3, 10, 11])
        #expect(try added.encode("<tool>").map(\.id) == [10])
        // Files of two checkpoints.
        for other in [#"{"<|endoftext|>":8}"#, #"{"a":9,"b":9}"#] {
            let error = #expect(throws: DiffError.self) { try slow(merges, ["added_tokens.json": other]) }
            #expect(error?.message.contains("one checkpoint") ?? false)
        }
    }

    @Test func chatsOfOtherTemplatesAreRefused() throws {
        let merges = Array(Self.merges.joined(separator: "\n").utf8)
        let message = ChatTemplate.Message(role: .user, content: "he")
        let other = try slow(merges, ["chat_template.jinja": "[INST]{{ messages[0].content }}[/INST]"])
        #expect(throws: DiffError.self) { try other.encode([message], as: .dream) }
        let template = #"<|im_start|>system\nhell<|im_end|>\n<|im_start|>{{ role }}"#
        let own = try slow(merges, ["chat_template.jinja": template])
        #expect(try own.encode([message], as: .dream).map(\.id).contains(5))
    }
}
