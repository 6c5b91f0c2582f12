/// Names, JSON and covered bytes of a safetensors header; files of other formats.
extension Hostile {
    // MARK: Names and metadata

    static var names: [HostileFile] {
        let long = String(repeating: "n", count: 1024)
        return [
            file(
                "duplicate-name", image("{" + entry("a") + "," + entry("a") + "}", data: 4),
                .fails(format, "duplicate")),
            file(
                "duplicate-escaped", image("{" + entry("a") + "," + entry("\\u0061") + "}", data: 4),
                .fails(format, "duplicate")),
            file(
                "equal-in-unicode",
                image("{" + entry("\u{e9}", "F32", "[0]", "[0,0]") + "," + entry("e\u{301}") + "}", data: 4),
                .fails(format, "twice")),
            file("empty-name", image("{" + entry("") + "}", data: 4), .fails(format, "no NUL")),
            file("nul-name", image("{" + entry("a\\u0000b") + "}", data: 4), .fails(format, "bad JSON")),
            file("name-1024", image("{" + entry(long) + "}", data: 4), .loads),
            file("name-1025", image("{" + entry(long + "n") + "}", data: 4), .fails(format, "1024 bytes")),
            file("control-name", image("{" + entry("a\\u001b[31m") + "}", data: 4), .loads),
            file("metadata", image("{\"__metadata__\":{\"a\":\"b\"}," + entry("a") + "}", data: 4), .loads),
            file("metadata-empty", image("{\"__metadata__\":{}}"), .loads),
            file("metadata-number", image("{\"__metadata__\":{\"a\":1}}"), .fails(format, "__metadata__.a")),
            file("metadata-array", image("{\"__metadata__\":[]}"), .fails(format, "__metadata__")),
            file("metadata-nested", image("{\"__metadata__\":{\"a\":{}}}"), .fails(format, "__metadata__.a")),
            file("metadata-string", image("{\"__metadata__\":\"a\"}"), .fails(format, "__metadata__")),
        ]
    }

    // MARK: JSON of the header

    static var json: [HostileFile] {
        func raw(_ id: String, _ bytes: [UInt8], _ part: String = "bad JSON") -> HostileFile {
            file("json-" + id, image(bytes), .fails(format, part))
        }
        func nested(_ depth: Int) -> [UInt8] {
            Array("{\"a\":".utf8) + [UInt8](repeating: 0x5b, count: depth) + [UInt8](repeating: 0x5d, count: depth)
                + [0x7d]
        }
        var files = [
            raw("array", Array("[]".utf8), "begin with {"),
            raw("bom", [0xef, 0xbb, 0xbf] + Array("{}".utf8), "begin with {"),
            raw("trailing-comma", Array("{\"__metadata__\":{},}".utf8)),
            raw("two-objects", Array("{}{}".utf8)),
            raw("comment", Array("{/**/}".utf8)),
            raw("single-quotes", Array("{'a':1}".utf8)),
            raw("open", Array("{".utf8)),
            raw("open-string", Array("{\"a".utf8)),
            raw("nan", Array("{\"a\":NaN}".utf8)),
            raw("huge-exponent", Array("{\"a\":1e999}".utf8)),
            raw("huge-integer", Array("{\"a\":123456789012345678901234567890}".utf8)),
            raw("trailing-nul", Array("{}".utf8) + [0]),
            raw("nul-inside", Array("{\"a".utf8) + [0] + Array("\":1}".utf8)),
            raw("invalid-utf8", Array("{\"".utf8) + [0xff, 0xfe] + Array("\":1}".utf8)),
            raw("overlong-utf8", Array("{\"".utf8) + [0xc0, 0x80] + Array("\":1}".utf8)),
            raw("surrogate-utf8", Array("{\"".utf8) + [0xed, 0xa0, 0x80] + Array("\":1}".utf8)),
            raw("lone-surrogate", Array("{\"\\ud800\":1}".utf8)),
            raw("bad-escape", Array("{\"\\x\":1}".utf8)),
            raw("garbage", (0..<64).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 0x7b) }),
            raw("closers", Array("{".utf8) + [UInt8](repeating: 0x5d, count: 1000)),
        ]
        for depth in [10, 30] { files.append(raw("nested-\(depth)", nested(depth), "expected an object")) }
        for depth in [32, 100, 10_000, 1_000_000] { files.append(raw("nested-\(depth)", nested(depth), "deep")) }
        // Two bytes each in the file, a hundred in memory.
        files.append(
            raw(
                "dense-numbers", Array(("{\"a\":[1" + String(repeating: ",1", count: 2_500_000) + "]}").utf8),
                "memory"))
        files.append(
            raw(
                "dense-objects", Array(("{\"a\":[{}" + String(repeating: ",{}", count: 500_000) + "]}").utf8),
                "memory"))
        return files
    }

    // MARK: Overlaps and holes (H02, H20, H22)

    static var overlaps: [HostileFile] {
        func two(_ a: String, _ b: String, data: Int) -> [UInt8] {
            image("{" + entry("a", "F32", "[1]", a) + "," + entry("b", "F32", "[1]", b) + "}", data: data)
        }
        let many = (0..<5000).map { entry("t\($0)", "F32", "[1]", "[0,4]") }.joined(separator: ",")
        let wrap = (0..<2).map { entry("t\($0)", "U8", "[9223372036854775743]", "[0,9223372036854775743]") }.joined(
            separator: ",")
        return [
            file("same-bytes", two("[0,4]", "[0,4]", data: 4), .fails(format, "overlaps")),
            file("overlap", two("[0,4]", "[2,6]", data: 6), .fails(format, "overlaps")),
            file("hole-between", two("[0,4]", "[8,12]", data: 12), .fails(format, "hole")),
            file("hole-after", two("[0,4]", "[4,8]", data: 12), .fails(format, "after the last tensor")),
            file(
                "one-inside",
                image(
                    "{" + entry("a", "F32", "[4]", "[0,16]") + "," + entry("b", "F32", "[1]", "[4,8]") + "}", data: 16
                ), .fails(format, "overlaps")),
            file(
                "empty-inside",
                image(
                    "{" + entry("a", "F32", "[4]", "[0,16]") + "," + entry("b", "F32", "[0]", "[4,4]") + "}", data: 16
                ), .fails(format, "overlaps")),
            file(
                "5000-over-the-same", image("{" + many + "}", data: 4),
                .fails(format, "overlaps the tensor before it, at byte 0")),
            file("sizes-wrap", image("{" + wrap + "}", data: 4), .fails(format, "tensor")),
        ]
    }

    // MARK: Other formats (H14, H15)

    static var foreign: [HostileFile] {
        let none = "it cannot be converted"
        let magics: [(String, [UInt8], String)] = [
            ("zip", [0x50, 0x4b, 3, 4, 0, 0, 8, 8], "python -m diffaccel.convert"),
            ("pickle-2", [0x80, 2, 0x8a, 10], "python -m diffaccel.convert"),
            ("pickle-4", [0x80, 4, 0x95, 1], "python -m diffaccel.convert"),
            ("gguf", Array("GGUF".utf8) + [3, 0, 0, 0], none),
            ("hdf5", [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a], none),
            ("npy", [0x93] + Array("NUMPY".utf8) + [1, 0], none), ("gzip", [0x1f, 0x8b, 8, 0], "unpack it"),
            ("tar", [UInt8](repeating: 0x61, count: 256) + [0] + Array("ustar".utf8), "unpack it"),
            ("onnx", [8, 7, 0x12, 7] + Array("pytorch".utf8), none),
            ("png", [0x89] + Array("PNG\r\n".utf8) + [26, 10], none),
        ]
        var files = magics.map {
            file("magic-" + $0.0, $0.1 + [UInt8](repeating: 7, count: 500), .fails(unsupported, $0.2))
        }
        let texts: [(String, String, String)] = [
            ("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a git-lfs pointer"),
            ("xet", "# xet version 0\nfilesize = 1\n", "a Xet pointer"),
            ("annex", "/annex/objects/SHA256E-s1--ab.safetensors\n", "a git-annex pointer"),
            ("html", "\n<!DOCTYPE html>\n<html lang=\"en\">", "an HTML page"),
            ("html-marked", "\u{feff}<HTML>", "an HTML page"),
            ("xml", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML text"),
            ("json", "{\"error\":\"Access to this model is restricted.\"}", "a JSON text"),
            ("message", "Entry not found", "a text (\"Entry not found\")"),
        ]
        files += texts.map { file("left-" + $0.0, Array($0.1.utf8), .fails(format, $0.2)) }
        files.append(file("left-zeros", [UInt8](repeating: 0, count: 5000), .fails(format, "nothing but zeros")))
        // 640 = 0x0280: the length of this header looks like the start of a pickle.
        let header = "{" + entry("a") + "}"
        files.append(
            file(
                "looks-like-pickle", image(header + String(repeating: " ", count: 640 - header.utf8.count), data: 4),
                .loads))
        files.append(
            directory(
                "pytorch-folder", [("config.json", text("{}")), ("pytorch_model.bin", text("PK"))],
                .fails(unsupported, "diffaccel.convert")))
        files.append(
            directory(
                "pickle-named-model", [("model.safetensors", .bytes(magics[1].1 + [UInt8](repeating: 0, count: 99)))],
                .fails(unsupported, "pickle")))
        return files
    }
}
