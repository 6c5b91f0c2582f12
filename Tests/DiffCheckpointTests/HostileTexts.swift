/// Texts where numbers are wanted, and JSON in other encodings.
extension Hostile {
    // MARK: Members of the table (H01, H07, H16)

    /// What is no size, in each place that takes one: the tensor is named, or the line when it is no JSON either.
    static var textsInTables: [HostileFile] {
        let tensor = "x.safetensors: tensor \"a\": "
        let line = "x.safetensors: bad JSON at line 1"
        let texts: [(name: String, text: String, part: String)] = [
            ("exponent", "1e3", tensor), ("fraction", "1.5", tensor), ("negative", "-1", tensor),
            ("lowest", "-9223372036854775808", tensor), ("null", "null", tensor), ("text", "\"1\"", tensor),
            ("list", "[1]", tensor), ("object", "{}", tensor), ("true", "true", tensor),
            ("huge-fraction", "1e308", tensor), ("too-huge-fraction", "1e400", line),
            ("2-64", "18446744073709551616", line), ("below-lowest", "-9223372036854775809", line),
            ("hexadecimal", "0x10", line), ("octal", "010", line), ("grouped", "1_000", line), ("plus", "+4", line),
            ("bare-point", "4.", line), ("leading-point", ".4", line), ("arabic-digit", "\u{664}", line),
            ("nan", "NaN", line), ("nothing", "", line),
        ]
        let places: [(name: String, header: (String) -> String)] = [
            ("shape", { "{" + entry("a", "F32", "[\($0)]") + "}" }),
            ("second-extent", { "{" + entry("a", "F32", "[1,\($0)]") + "}" }),
            ("begin", { "{" + entry("a", "F32", "[1]", "[\($0),4]") + "}" }),
            ("end", { "{" + entry("a", "F32", "[1]", "[0,\($0)]") + "}" }),
        ]
        var files: [HostileFile] = []
        for place in places {
            for text in texts where !(text.text.isEmpty && place.name == "shape") {
                files.append(
                    file(
                        "\(place.name)-is-\(text.name)", image(place.header(text.text), data: 4),
                        .fails(format, text.part)))
            }
        }
        // Members of the wrong kind as a whole.
        for member in ["dtype", "shape", "data_offsets"] {
            for (name, text) in [
                ("null", "null"), ("number", "7"), ("object", "{}"), ("true", "true"), ("text", "\"\""),
            ] {
                let sound = ["dtype": "\"F32\"", "shape": "[1]", "data_offsets": "[0,4]"]
                let members = sound.map { "\"\($0.key)\":" + ($0.key == member ? text : $0.value) }.sorted()
                let header = "{\"a\":{" + members.joined(separator: ",") + "}}"
                let part = member == "dtype" && name == "text" ? tensor + "unknown dtype" : tensor + member
                files.append(file("member-\(member)-is-\(name)", image(header, data: 4), .fails(format, part)))
            }
        }
        return files
    }

    // MARK: Encodings

    /// JSON is UTF-8 without a mark; nothing else is guessed.
    static var encodings: [HostileFile] {
        let text = "{" + entry("a") + "}"
        let little = text.utf16.flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }
        let big = text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
        let wide = text.unicodeScalars.flatMap { [UInt8($0.value & 0xff), 0, 0, 0] }
        let begins = "x.safetensors: the header does not begin with {"
        let line = "x.safetensors: bad JSON at line 1"
        func named(_ bytes: [UInt8]) -> [UInt8] {
            Array("{\"".utf8) + bytes + Array("\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}".utf8)
        }
        let headers: [(String, [UInt8], String)] = [
            ("utf16-little", little, line), ("utf16-big", big, begins),
            ("utf16-marked", [0xff, 0xfe] + little, begins),
            ("utf32-little", wide, line), ("utf8-marked", [0xef, 0xbb, 0xbf] + Array(text.utf8), begins),
            ("latin-1", named([0xe9]), line), ("continuation-alone", named([0x80]), line),
            ("two-byte-overlong", named([0xc1, 0xbf]), line), ("three-byte-overlong", named([0xe0, 0x80, 0xaf]), line),
            ("four-byte-overlong", named([0xf0, 0x80, 0x80, 0xaf]), line),
            ("surrogate-pair-in-utf8", named([0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]), line),
            ("beyond-unicode", named([0xf4, 0x90, 0x80, 0x80]), line),
            ("five-bytes", named([0xf8, 0x88, 0x80, 0x80, 0x80]), line),
            ("cut-sequence", named([0xe2, 0x82]), line), ("nul-byte", named([0]), line), ("tab-byte", named([9]), line),
            ("newline-byte", named([10]), "x.safetensors: bad JSON at line"),
            ("cut-escape", named(Array("\\u00".utf8)), line), ("high-surrogate", named(Array("\\ud83d".utf8)), line),
            ("two-high-surrogates", named(Array("\\ud83d\\ud83d".utf8)), line),
            ("low-surrogate", named(Array("\\ude00".utf8)), line), ("escape-of-nothing", named(Array("\\".utf8)), line),
            ("escape-in-upper-case", named(Array("\\U0061".utf8)), line),
        ]
        var files = headers.map { file("header-" + $0.0, image($0.1, data: 4), .fails(format, $0.2)) }
        files.append(file("header-pair-of-surrogates", image(named(Array("\\ud83d\\ude00".utf8)), data: 4), .loads))
        files.append(file("header-last-of-unicode", image(named([0xf4, 0x8f, 0xbf, 0xbf]), data: 4), .loads))
        let config = "{\"a\":1}"
        let (bad, utf16) = ("config.json: bad JSON at line 1", "config.json: bad JSON: the text is in UTF-16")
        let configs: [(String, [UInt8], String)] = [
            ("utf16-little", config.utf16.flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }, utf16),
            ("utf16-big", config.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }, utf16),
            ("utf16-marked", [0xff, 0xfe] + config.utf16.flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }, utf16),
            ("latin-1", [0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x31, 0x7d], bad),
            ("gzip", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "config.json: a gzip archive, not JSON"),
            ("nul-inside", Array("{\"a\":".utf8) + [0] + Array("1}".utf8), bad),
            ("nul-behind", Array(config.utf8) + [0], bad), ("yaml", Array("a: 1\n".utf8), bad),
            ("python", Array("{'a': True}".utf8), "line 1, column 2: a single quote"),
            ("python-words", Array("{\"é\": 1, \"a\": True}".utf8), "line 1, column 15: Python's True: JSON says true"),
            ("comment", Array("{\n  // why\n  \"a\": 1}".utf8), "line 2, column 3: a comment"),
            ("hash", Array("{\"a\": 1 # why\n}".utf8), "line 1, column 9: a comment"),
            ("comma", Array("{\"a\": [1,\n2,\n]}".utf8), "line 3, column 1: a comma before a closing bracket"),
            ("html", Array("<html></html>".utf8), "config.json: an HTML page, not JSON"),
            ("git-lfs", Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
            ("zeros", [UInt8](repeating: 0, count: 99), "config.json: nothing but zeros"),
        ]
        for (name, bytes, part) in configs {
            files.append(
                directory(
                    "config-is-" + name, [("config.json", .bytes(bytes)), ("model.safetensors", .bytes(good))],
                    .fails(format, part)))
        }
        return files
    }
}
