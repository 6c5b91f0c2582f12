import DiffCheckpoint
import DiffModels
import DiffTensor
import Testing

@Suite struct TokenizerTests {
    /// A tokenizer over the byte alphabet with a few merges.
    private func json(
        merges: String = #"["h e", "l l", "he ll", "hell o", "Ġ hello"]"#, extra: String = "",
        vocabulary: String = "", added: String = #"{"id":300,"content":"<|end|>","special":true}"#,
        pre: String = #"{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}"#
    ) -> String {
        var entries: [String] = []
        var next = 256
        for byte in 0..<256 {
            let isVisible = (33...126).contains(byte) || (161...172).contains(byte) || (174...255).contains(byte)
            let scalar = isVisible ? byte : next
            if !isVisible { next += 1 }
            let text = String(Unicode.Scalar(UInt32(scalar))!)
            entries.append("\"\(text == "\"" || text == "\\" ? "\\" + text : text)\":\(byte)")
        }
        for (index, token) in ["he", "ll", "hell", "hello", "Ġhello"].enumerated() {
            entries.append("\"\(token)\":\(256 + index)")
        }
        return """
            {"model":{"type":"BPE","vocab":{\(entries.joined(separator: ","))\(vocabulary)},"merges":\(merges)\(extra)},
             "added_tokens":[\(added)],"pre_tokenizer":\(pre)}
            """
    }

    private func tokenizer(_ text: String) throws -> Tokenizer {
        try Tokenizer(JSONObject(JSON(parsing: text, source: "tokenizer.json"), source: "tokenizer.json"))
    }

    @Test func mergesAndOffsets() throws {
        let tokenizer = try tokenizer(json())
        let tokens = try tokenizer.encode("hello hello<|end|>é", allowsControl: true)
        #expect(tokens.map(\.id) == [259, 260, 300, 0xc3, 0xa9])
        #expect(tokens.map(\.bytes) == [0..<5, 5..<11, 11..<18, 18..<20, 18..<20])
        #expect(tokenizer.decode(tokens.map(\.id)) == "hello helloé")
        #expect(tokenizer.decode(tokens.map(\.id), skipsSpecial: false) == "hello hello<|end|>é")
        #expect(tokenizer.decode([0xc3]) == "\u{fffd}")
        #expect(tokenizer.id(of: "<|end|>") == 300 && tokenizer.isSpecial(300))
        #expect(tokenizer.decode([-1, 4000]) == "")
    }

    @Test func everyByteComesBack() throws {
        let tokenizer = try tokenizer(json())
        let text = String(decoding: (0...255).flatMap { [UInt8($0), 0x20] }, as: UTF8.self) + "𐍈 日本語 \r\n\t 🧪"
        #expect(try tokenizer.decode(tokenizer.encode(text).map(\.id)) == text)
        #expect(try tokenizer.encode("").isEmpty)
    }

    /// A word as long as a file takes time n log n.
    @Test func longWordsEnd() throws {
        let tokenizer = try tokenizer(json(pre: #"{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}"#))
        let tokens = try tokenizer.encode(String(repeating: "hello", count: 40_000))
        #expect(tokens.count == 40_000 && tokens.allSatisfy { $0.id == 259 })
    }

    @Test func patternsCutAsTheyShould() throws {
        for (pattern, text, want) in [
            (#"\p{L}+|\p{N}|\s+(?!\S)|\s+"#, "ab12  c", ["ab", "1", "2", " ", " ", "c"]),
            (#"(?i:'s|'t)|[^']+"#, "it'S'T", ["it", "'S", "'T"]),
            (#"a{2,3}|b{2}|."#, "aaaabbb", ["aaa", "a", "bb", "b"]),
            (#"\p{L}++b|."#, "aab", ["a", "a", "b"]),
            (#"(?>a|ab)c|ab|c"#, "abc", ["ab", "c"]),
            (#"[a-c\]x]+|[^a-c]"#, "ab]xq", ["ab]x", "q"]),
            (#"a*?b"#, "aab", ["aab"]),
            // Counts have no possessive form, and a fixed one no lazy form; the other way round they are possessive.
            (#"\p{N}{1,3}+"#, "12345", ["12345"]),
            (#"a{2}?b"#, "aabb", ["aab", "b"]),
            (#"a{3,1}a|a"#, "aaa", ["a", "a", "a"]),
            (#"a{,2}"#, "aaa", ["aa", "a"]),
            (#"a{x}"#, "a{x}a", ["a{x}", "a"]),
            // Anchors of lines; empty matches cut.
            ("^", "a\nb\n", ["a\n", "b\n"]),
            ("$", "a\nb", ["a", "\nb"]),
            ("(?=[A-Z])", "fooBarBaz", ["foo", "Bar", "Baz"]),
            (#"\b"#, "ab cd", ["ab", " ", "cd"]),
            (#"\n\z|.\Z"#, "ab\n", ["a", "b", "\n"]),
            ("(?<=a+)b|(?<!a)c", "aabcac", ["aa", "b", "c", "ac"]),
            (#"\R"#, "a\r\nb\u{2028}", ["a", "\r\n", "b", "\u{2028}"]),
            // Letters without case: one may be several.
            ("(?i:ss)", "ßSsſs", ["ß", "Ss", "ſs"]),
            ("(?i:[ß])", "ssẞ", ["ss", "ẞ"]),
            ("(?i:ς)", "σΣa", ["σ", "Σ", "a"]),
            (#"(?i:\p{Lu})|(?i:[\p{Lu}])b"#, "Aab", ["A", "ab"]),
            ("a(?i)b|c", "aBCb", ["aB", "Cb"]),
            ("(?x: a  b # c\n)", "abab", ["ab", "ab"]),
            ("[a-z&&[^aeiou]]+", "hello", ["h", "e", "ll", "o"]),
            ("[[:upper:]]+|[^[:upper:]]", "aBCd", ["a", "BC", "d"]),
            ("[]a-c-e]+", "a]-ed", ["a]-e", "d"]),
            (#"\h+"#, "xaF9g", ["x", "aF9", "g"]),
            (#"\w+"#, "a\u{b2}\u{24d0} \u{9f4}", ["a\u{b2}\u{24d0}", " \u{9f4}"]),
            ("(?:)*|a", "aa", ["a", "a"]),
            ("(a*)*b", "aab", ["aab"]),
        ] {
            let pre =
                #"{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","pattern":{"Regex":\#(quoted(pattern))}},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}"#
            let tokenizer = try tokenizer(json(pre: pre))
            #expect(try words(tokenizer, text) == want, "\(pattern)")
        }
    }

    private func quoted(_ text: String) -> String { JSON.string(text).serialized() }

    private func words(_ tokenizer: Tokenizer, _ text: String) throws -> [String] {
        try tokenizer.words(in: text)
    }

    @Test(arguments: [
        "[]", "{}", #"{"model":{}}"#, #"{"model":{"type":"WordPiece"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","b","c"]]},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Metaspace"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.5},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"q"},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"ByteLevel"}}"#,
        #"{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"added_tokens":[{"id":1,"content":""}],"pre_tokenizer":{"type":"ByteLevel"}}"#,
    ])
    func badFilesAreRefused(_ text: String) {
        #expect(throws: DiffError.self) { _ = try tokenizer(text) }
    }

    @Test(arguments: [
        "(", ")", "[", "a{100001}", "*", "\\", "\\p{Greek}", "(?<1>a)", "(?=a)*", "[z-a]", "\\X", "(a)\\1", "[a-\\d]",
        "(?~a)", "\\K", "(?s:.)", "{1}", "[]", "(?<!(a))b", "\\p{", "(?:ab){100000}",
    ])
    func badPatternsAreRefused(_ pattern: String) {
        let pre =
            #"{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","pattern":{"Regex":\#(quoted(pattern))}},{"type":"ByteLevel","add_prefix_space":false}]}"#
        #expect(throws: DiffError.self) { _ = try tokenizer(json(pre: pre)) }
    }

    /// What makes other engines run for years ends with a status.
    @Test func evilPatternsEnd() throws {
        for pattern in ["(a+)+b", "(a|aa)+$b", "(a*)*b", "(?:)*", "(?<=(?:a|aa)+)b", "(?:(?=a+)a)+b", "(?i:a|A)*?b"] {
            let pre =
                #"{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","pattern":{"Regex":\#(quoted(pattern))}},{"type":"ByteLevel","add_prefix_space":false}]}"#
            let tokenizer = try tokenizer(json(pre: pre))
            _ = try? tokenizer.encode(String(repeating: "a", count: 2000))
        }
    }

    @Test func compositionIsNFC() throws {
        var text = json()
        text.insert(contentsOf: #""normalizer":{"type":"NFC"},"#, at: text.index(after: text.startIndex))
        let tokenizer = try tokenizer(text)
        let tokens = try tokenizer.encode("ae\u{301}<|end|>", allowsControl: true)
        #expect(tokens.map(\.id) == [97, 0xc3, 0xa9, 300])
        #expect(tokens.map(\.bytes) == [0..<1, 1..<4, 1..<4, 4..<11])
    }

    @Test func chatsAreWrittenAsTheTemplatesSay() {
        let messages = [
            ChatTemplate.Message(role: .user, content: " Hi \n"), .init(role: .assistant, content: "Yes"),
            .init(role: .user, content: "Go"),
        ]
        #expect(
            ChatTemplate.llada.render(messages)
                == "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                + "<|start_header_id|>assistant<|end_header_id|>\n\nYes<|eot_id|>"
                + "<|start_header_id|>user<|end_header_id|>\n\nGo<|eot_id|>"
                + "<|start_header_id|>assistant<|end_header_id|>\n\n")
        #expect(
            ChatTemplate.dream.render([.init(role: .system, content: "S"), .init(role: .user, content: "Go")])
                == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nGo<|im_end|>\n<|im_start|>assistant\n")
    }
}
