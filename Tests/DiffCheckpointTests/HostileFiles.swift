/// Hostile checkpoints as pure data: what lies in the directory, how it is opened, and what must come out.
///
/// Nothing here knows the reader, so that tests of other layers can write the same files.
struct HostileFile: Sendable {
    enum Content: Sendable {
        case bytes([UInt8])
        case link(String)
        case pipe
        case directory
        /// A file of this size that occupies nothing.
        case sparse(Int)
    }

    enum Verdict: Sendable, Equatable {
        case loads
        /// The status number and a part of the text.
        case fails(Int32, String)
    }

    let id: String
    let files: [(name: String, content: Content)]
    /// Opened relative to the directory; empty for the directory itself.
    let target: String
    let verdict: Verdict
}

enum Hostile {
    // Status numbers of the C library.
    static let argument: Int32 = -1
    static let io: Int32 = -2
    static let format: Int32 = -3
    static let unsupported: Int32 = -4

    /// Lengths and counts at which readers have gone wrong.
    static let numbers: [UInt64] = [
        0, 1, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 62) + 1, (1 << 63) - 1, 1 << 63, .max,
    ]

    static var all: [HostileFile] {
        lengths + tables + numbersInTables + names + json + overlaps + foreign + configurations + shards + places
    }

    // MARK: Builders

    /// A safetensors file: length, header, `data` bytes of 0x40.
    static func image(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
        image(Array(header.utf8), data: data, length: length)
    }

    static func image(_ header: [UInt8], data: Int = 0, length: UInt64? = nil) -> [UInt8] {
        var number = (length ?? UInt64(header.count)).littleEndian
        return withUnsafeBytes(of: &number) { Array($0) } + header + [UInt8](repeating: 0x40, count: data)
    }

    static func entry(_ name: String, _ dtype: String = "F32", _ shape: String = "[1]", _ offsets: String = "[0,4]")
        -> String
    {
        "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
    }

    static func one(_ dtype: String, _ shape: String, _ offsets: String, data: Int) -> [UInt8] {
        image("{" + entry("a", dtype, shape, offsets) + "}", data: data)
    }

    static let good = image("{" + entry("a") + "}", data: 4)

    static func file(_ id: String, _ bytes: [UInt8], _ verdict: HostileFile.Verdict) -> HostileFile {
        HostileFile(id: id, files: [("x.safetensors", .bytes(bytes))], target: "x.safetensors", verdict: verdict)
    }

    static func directory(
        _ id: String, _ files: [(String, HostileFile.Content)], _ verdict: HostileFile.Verdict
    ) -> HostileFile {
        HostileFile(id: id, files: files.map { (name: $0.0, content: $0.1) }, target: "", verdict: verdict)
    }

    static func text(_ text: String) -> HostileFile.Content { .bytes(Array(text.utf8)) }

    // MARK: Length of the header (H01, H05, H06)

    static var lengths: [HostileFile] {
        var files = [
            file("empty", [], .fails(format, "too few")),
            file("seven-bytes", [UInt8](repeating: 1, count: 7), .fails(format, "too few")),
            file("length-only", image("", length: 2), .fails(format, "in a file of 8")),
            file("length-over-limit", image("{}", length: 100_000_001), .fails(format, "100000001")),
            file("length-one-more", image("{}", length: 3), .fails(format, "in a file of 10")),
            file("length-one-less", image("{}", length: 1), .fails(format, "bad JSON")),
            file("length-near-max", image("{}", length: .max - 7), .fails(format, "header of")),
        ]
        for number in numbers {
            files.append(
                file("length-\(number)", image("{}", data: 4, length: number), .fails(format, "x.safetensors")))
        }
        return files
    }

    // MARK: Table against bytes (H02-H05, H07-H09, H12, H16)

    static var tables: [HostileFile] {
        var files = [
            file("no-tensors", image("{}"), .loads),
            file("leading-space", image(" {}"), .fails(format, "begin with {")),
            file("trailing-spaces", image("{}   \n"), .loads),
            file(
                "any-order", image("{" + entry("b", "F32", "[1]", "[4,8]") + "," + entry("a") + "}", data: 8), .loads),
            file("scalar", one("F32", "[]", "[0,4]", data: 4), .loads),
            file("zero-size", one("F32", "[0]", "[0,0]", data: 0), .loads),
            file("zero-size-inside", one("F32", "[2,0,3]", "[0,0]", data: 0), .loads),
            file(
                "zero-times-huge", one("F32", "[0,9223372036854775808]", "[0,0]", data: 0), .fails(format, "bad JSON")
            ),
            file("zero-times-2^60", one("F32", "[0,1152921504606846976]", "[0,0]", data: 0), .fails(format, "shape")),
            file(
                "product-wraps-to-0", one("F32", "[4294967296,4294967296]", "[0,0]", data: 0), .fails(format, "shape")
            ),
            file(
                "product-wraps-outside", one("F32", "[4294967296,4294967296]", "[8,8]", data: 4),
                .fails(format, "shape")),
            file(
                "product-wraps-to-4", one("F32", "[4611686018427387905]", "[0,4]", data: 4),
                .fails(format, "tensor \"a\"")),
            file("exabytes", one("F32", "[1048576,1048576,1048576]", "[0,4]", data: 4), .fails(format, "shape")),
            file("gigabytes", one("F32", "[1073741824]", "[0,4]", data: 4), .fails(format, "needs 4294967296")),
            file(
                "gigabytes-claimed", one("F32", "[1073741824]", "[0,4294967296]", data: 4), .fails(format, "beyond")),
            file("shape-larger", one("F32", "[2]", "[0,4]", data: 4), .fails(format, "needs 8")),
            file("shape-smaller", one("F32", "[1]", "[0,8]", data: 8), .fails(format, "needs 4")),
            file("data-short", one("F32", "[2]", "[0,8]", data: 7), .fails(format, "beyond the file")),
            file("data-missing", one("F32", "[2]", "[0,8]", data: 0), .fails(format, "beyond the file")),
            file("data-short-f16", one("F16", "[3]", "[0,6]", data: 5), .fails(format, "beyond the file")),
            file("data-short-bf16", one("BF16", "[3]", "[0,6]", data: 4), .fails(format, "beyond the file")),
            file("trailing-byte", one("F32", "[1]", "[0,4]", data: 5), .fails(format, "1 bytes behind")),
            file("trailing-bytes-no-tensors", image("{}", data: 100), .fails(format, "100 bytes behind")),
            file("hole-before", one("F32", "[1]", "[4,8]", data: 8), .fails(format, "hole")),
            file("negative-begin", one("F32", "[1]", "[-1,3]", data: 4), .fails(format, "data_offsets[0]")),
            file("end-before-begin", one("F32", "[1]", "[4,0]", data: 4), .fails(format, "begin <= end")),
            file("begin-2^63", one("F32", "[1]", "[9223372036854775808,4]", data: 4), .fails(format, "line 1")),
            file(
                "offsets-near-max", one("F32", "[1]", "[9223372036854775803,9223372036854775807]", data: 4),
                .fails(format, "beyond any file")),
            file("one-offset", one("F32", "[1]", "[4]", data: 4), .fails(format, "data_offsets")),
            file("three-offsets", one("F32", "[1]", "[0,4,4]", data: 4), .fails(format, "data_offsets")),
            file("no-offsets", one("F32", "[1]", "[]", data: 4), .fails(format, "data_offsets")),
            file("offsets-string", one("F32", "[1]", "\"0,4\"", data: 4), .fails(format, "expected a list")),
            file("minus-dimension", one("F32", "[-1]", "[0,4]", data: 4), .fails(format, "shape[0]")),
            file("float-dimension", one("F32", "[1.0]", "[0,4]", data: 4), .fails(format, "found 1.0")),
            file("exponent-dimension", one("F32", "[1e0]", "[0,4]", data: 4), .fails(format, "shape[0]")),
            file("plus-dimension", one("F32", "[+1]", "[0,4]", data: 4), .fails(format, "bad JSON")),
            file("octal-dimension", one("F32", "[01]", "[0,4]", data: 4), .fails(format, "bad JSON")),
            file("minus-zero", one("F32", "[-0]", "[0,0]", data: 0), .fails(format, "-0")),
            file("bool-dimension", one("F32", "[true]", "[0,4]", data: 4), .fails(format, "found true")),
            file("null-dimension", one("F32", "[null]", "[0,4]", data: 4), .fails(format, "found null")),
            file("string-dimension", one("F32", "[\"1\"]", "[0,4]", data: 4), .fails(format, "found \"1\"")),
            file("shape-number", one("F32", "1", "[0,4]", data: 4), .fails(format, "shape: expected a list")),
            file("unknown-dtype", one("Q4_K", "[1]", "[0,4]", data: 4), .fails(format, "unknown dtype")),
            file("lower-case-dtype", one("f32", "[1]", "[0,4]", data: 4), .fails(format, "unknown dtype")),
            file(
                "dtype-number", image("{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", data: 4),
                .fails(format, "dtype")),
            file(
                "no-dtype", image("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", data: 4),
                .fails(format, "dtype: missing")),
            file(
                "no-shape", image("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", data: 4),
                .fails(format, "shape: missing")),
            file(
                "no-data-offsets", image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", data: 4),
                .fails(format, "data_offsets: missing")),
            file(
                "extra-field",
                image("{\"a\":{\"x\":[{}],\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", data: 4), .loads),
            file("entry-array", image("{\"a\":[\"F32\",[1],[0,4]]}", data: 4), .fails(format, "expected an object")),
            file("entry-null", image("{\"a\":null}", data: 4), .fails(format, "expected an object")),
            file("f4-odd", one("F4", "[3]", "[0,2]", data: 2), .fails(format, "whole bytes")),
            file("f4-even", one("F4", "[4]", "[0,2]", data: 2), .fails(unsupported, "F4")),
            file("f64-16-bytes", one("F64", "[4]", "[0,16]", data: 16), .fails(format, "needs 32")),
            file("f64-as-weight", one("F64", "[1]", "[0,8]", data: 8), .fails(unsupported, "F64")),
            file("i64-as-weight", one("I64", "[1]", "[0,8]", data: 8), .fails(unsupported, "I64")),
        ]
        let sizes = [
            "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
        ]
        for (dtype, size) in sizes.sorted(by: { $0.key < $1.key }) {
            // Declared as this type over the bytes of another.
            files.append(
                file(
                    "dtype-\(dtype)-over-f32", one(dtype, "[2]", "[0,8]", data: 8),
                    .fails(format, "needs \(2 * size)")))
        }
        for dtype in ["F32", "I32", "U32"] {
            files.append(
                file("dtype-\(dtype)-over-f16", one(dtype, "[2]", "[0,4]", data: 4), .fails(format, "needs 8")))
        }
        for position in 0..<4 {
            let dims = (0..<4).map { $0 == position ? "0" : "3" }.joined(separator: ",")
            files.append(file("zero-dimension-\(position)", one("F32", "[\(dims)]", "[0,0]", data: 0), .loads))
            files.append(
                file(
                    "zero-dimension-with-bytes-\(position)", one("F32", "[\(dims)]", "[0,4]", data: 4),
                    .fails(format, "needs 0")))
        }
        for rank in [1, 2, 7, 8, 9, 10, 16, 64, 65, 1000] {
            let dims = Array(repeating: "1", count: rank).joined(separator: ",")
            files.append(
                file(
                    "rank-\(rank)", one("F32", "[\(dims)]", "[0,4]", data: 4),
                    rank <= 8 ? .loads : .fails(format, "at most 8 axes")))
        }
        return files
    }

    /// Every number of the table at the values of ``numbers``.
    static var numbersInTables: [HostileFile] {
        var files: [HostileFile] = []
        for number in numbers {
            let fails = HostileFile.Verdict.fails(format, "x.safetensors")
            files.append(
                file("dimension-\(number)", one("F32", "[\(number)]", "[0,4]", data: 4), number == 1 ? .loads : fails)
            )
            files.append(
                file(
                    "dimensions-\(number)", one("F32", "[\(number),\(number)]", "[0,4]", data: 4),
                    number == 1 ? .loads : fails))
            files.append(
                file("begin-\(number)", one("F32", "[1]", "[\(number),4]", data: 4), number == 0 ? .loads : fails))
            files.append(file("end-\(number)", one("F32", "[1]", "[0,\(number)]", data: 4), fails))
        }
        return files
    }

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
            file("hole-after", two("[0,4]", "[4,8]", data: 12), .fails(format, "behind")),
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
            file("5000-over-the-same", image("{" + many + "}", data: 4), .fails(format, "")),
            file("sizes-wrap", image("{" + wrap + "}", data: 4), .fails(format, "tensor")),
        ]
    }

    // MARK: Other formats (H14, H15)

    static var foreign: [HostileFile] {
        let magics: [(String, [UInt8])] = [
            ("zip", [0x50, 0x4b, 3, 4, 0, 0, 8, 8]), ("pickle-2", [0x80, 2, 0x8a, 10]),
            ("pickle-4", [0x80, 4, 0x95, 1]),
            ("gguf", Array("GGUF".utf8) + [3, 0, 0, 0]), ("hdf5", [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a]),
            ("npy", [0x93] + Array("NUMPY".utf8) + [1, 0]), ("gzip", [0x1f, 0x8b, 8, 0]),
        ]
        var files = magics.map {
            file("magic-" + $0.0, $0.1 + [UInt8](repeating: 7, count: 500), .fails(unsupported, "diffaccel.convert"))
        }
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

    // MARK: config.json

    static var configurations: [HostileFile] {
        func config(_ id: String, _ content: HostileFile.Content, _ verdict: HostileFile.Verdict) -> HostileFile {
            directory("config-" + id, [("config.json", content), ("model.safetensors", .bytes(good))], verdict)
        }
        let deep = String(repeating: "[", count: 33) + String(repeating: "]", count: 33)
        let allowed = String(repeating: "[", count: 32) + String(repeating: "]", count: 32)
        let values = "[" + String(repeating: "1,", count: 99_998) + "1]"
        return [
            config("good", text("{\"a\":1}"), .loads),
            config("empty", text(""), .fails(format, "config.json: empty")),
            config("bom", text("\u{feff}{}"), .fails(format, "config.json: bad JSON")),
            config("bad", text("{\n\"a\":\n}"), .fails(format, "line 3")),
            config("duplicate", text("{\"a\":1,\"a\":2}"), .fails(format, "duplicate")),
            config("depth-32", text(allowed), .loads),
            config("depth-33", text(deep), .fails(format, "nested 33")),
            config("values-at-limit", text(values), .loads),
            config("values-over-limit", text("[" + values + "]"), .fails(format, "100001 JSON values")),
            config("at-4-mib", text("{}" + String(repeating: " ", count: (4 << 20) - 2)), .loads),
            config(
                "over-4-mib", text("{}" + String(repeating: " ", count: (4 << 20) - 1)),
                .fails(format, "config.json: 4194305")),
            config("sparse-1-tib", .sparse(1 << 40), .fails(format, "config.json")),
            config("pipe", .pipe, .fails(io, "a pipe")),
            config("directory", .directory, .fails(io, "a directory")),
            config("link", .link("/etc/hostname"), .fails(io, "symbolic link")),
            config("broken-link", .link("nowhere"), .fails(io, "symbolic link")),
            config("device", .link("/dev/zero"), .fails(io, "symbolic link")),
            config("invalid-utf8", .bytes([0x22, 0xff, 0x22]), .fails(format, "config.json")),
        ]
    }

    // MARK: Shards (H13)

    static var shards: [HostileFile] {
        let index = "model.safetensors.index.json"
        func named(_ id: String, _ json: String, _ part: String, code: Int32 = format) -> HostileFile {
            directory(
                "shard-" + id,
                [(index, text("{\"weight_map\":{\"a\":\"\(json)\"}}")), ("s.safetensors", .bytes(good))],
                .fails(code, part))
        }
        func indexed(
            _ id: String, _ json: String, _ verdict: HostileFile.Verdict, more: [(String, HostileFile.Content)] = []
        ) -> HostileFile {
            directory("index-" + id, [(index, text(json)), ("s.safetensors", .bytes(good))] + more, verdict)
        }
        let map = "{\"weight_map\":{\"a\":\"s.safetensors\"}}"
        let other = image("{" + entry("b") + "}", data: 4)
        let traversal = "not the name of a file"
        return [
            named("parent", "../x.safetensors", traversal), named("absolute", "/etc/passwd", traversal),
            named("up-inside", "a/../../b.safetensors", traversal),
            named("backslash", "a\\\\..\\\\b.safetensors", traversal),
            named("empty", "", traversal), named("dot", ".", traversal), named("dot-dot", "..", traversal),
            named("nul", "a\\u0000.safetensors", "bad JSON"), named("slash-end", "s.safetensors/", traversal),
            named("newline", "a\\n.safetensors", traversal), named("proc", "/proc/self/mem", traversal),
            named("folder", "sub/s.safetensors", traversal),
            named("5000", String(repeating: "s", count: 5000) + ".safetensors", traversal),
            named("absent", "t.safetensors", "t.safetensors: cannot be opened: no such file", code: io),
            named("itself", index, "not a .safetensors"),
            named("pickle", "pytorch_model.bin", "diffaccel.convert", code: unsupported),
            indexed("good", map, .loads),
            indexed("array", "[]", .fails(format, "expected an object")),
            indexed("no-map", "{}", .fails(format, "weight_map")),
            indexed("empty-map", "{\"weight_map\":{}}", .fails(format, "weight_map")),
            indexed("map-array", "{\"weight_map\":[]}", .fails(format, "weight_map")),
            indexed("number", "{\"weight_map\":{\"a\":1}}", .fails(format, "weight_map.a")),
            indexed(
                "twice", "{\"weight_map\":{\"a\":\"s.safetensors\",\"a\":\"s.safetensors\"}}",
                .fails(format, "duplicate")),
            indexed(
                "absent-tensor", "{\"weight_map\":{\"a\":\"s.safetensors\",\"z\":\"s.safetensors\"}}",
                .fails(format, "not in the shards it names: z")),
            indexed(
                "unlisted-tensor", "{\"weight_map\":{\"z\":\"s.safetensors\"}}",
                .fails(format, "tensor \"a\" is not in")),
            indexed(
                "two-claim", "{\"weight_map\":{\"a\":\"s.safetensors\",\"b\":\"t.safetensors\"}}",
                .fails(format, "another shard"),
                more: [
                    (
                        "t.safetensors",
                        .bytes(image("{" + entry("a") + "," + entry("b", "F32", "[1]", "[4,8]") + "}", data: 8))
                    )
                ]),
            indexed(
                "two-good", "{\"weight_map\":{\"a\":\"s.safetensors\",\"b\":\"t.safetensors\"}}", .loads,
                more: [("t.safetensors", .bytes(other))]),
            indexed("bad-json", "{\"weight_map\":", .fails(format, "bad JSON")),
            directory(
                "shard-link", [(index, text(map)), ("s.safetensors", .link("t")), ("t", .bytes(good))],
                .fails(io, "symbolic link")),
            directory(
                "shard-device-link", [(index, text(map)), ("s.safetensors", .link("/dev/zero"))],
                .fails(io, "symbolic link")),
            directory("shard-pipe", [(index, text(map)), ("s.safetensors", .pipe)], .fails(io, "a pipe")),
            directory(
                "shard-directory", [(index, text(map)), ("s.safetensors", .directory)], .fails(io, "a directory")),
            directory(
                "shard-truncated", [(index, text(map)), ("s.safetensors", .bytes(good.dropLast()))],
                .fails(format, "beyond the file")),
            directory("index-pipe", [(index, .pipe)], .fails(io, "a pipe")),
            directory("index-sparse", [(index, .sparse(1 << 40))], .fails(format, "at most")),
        ]
    }

    // MARK: What lies where

    static var places: [HostileFile] {
        let weights = HostileFile.Content.bytes(good)
        return [
            directory("empty-folder", [], .fails(io, "looked for model.safetensors")),
            directory("single-other", [("net.safetensors", weights)], .loads),
            directory(
                "two-others", [("a.safetensors", weights), ("b.safetensors", weights)],
                .fails(format, "which weights")),
            directory("weights-pipe", [("model.safetensors", .pipe)], .fails(io, "a pipe")),
            directory("weights-directory", [("model.safetensors", .directory)], .fails(io, "a directory")),
            directory(
                "weights-link", [("model.safetensors", .link("x")), ("x", weights)], .fails(io, "symbolic link")),
            directory(
                "weights-broken-link", [("model.safetensors", .link("x")), ("weights.safetensors", weights)],
                .fails(io, "symbolic link")),
            directory("weights-sparse", [("model.safetensors", .sparse(1 << 40))], .fails(format, "header of 0")),
            HostileFile(id: "target-link", files: [("l", .link("x")), ("x", weights)], target: "l", verdict: .loads),
            HostileFile(
                id: "target-device", files: [("l", .link("/dev/zero"))], target: "l", verdict: .fails(io, "a device")),
            HostileFile(
                id: "target-null", files: [("l", .link("/dev/null"))], target: "l", verdict: .fails(io, "a device")),
            HostileFile(id: "target-pipe", files: [("p", .pipe)], target: "p", verdict: .fails(io, "a pipe")),
            HostileFile(id: "target-loop", files: [("l", .link("l"))], target: "l", verdict: .fails(io, "link")),
            HostileFile(id: "target-absent", files: [], target: "none", verdict: .fails(io, "no such file")),
            HostileFile(
                id: "target-below-file", files: [("x", weights)], target: "x/y",
                verdict: .fails(io, "not a directory")),
            HostileFile(id: "target-nul", files: [], target: "a\0b", verdict: .fails(argument, "not a path")),
            HostileFile(
                id: "target-long", files: [], target: String(repeating: "a/", count: 3000),
                verdict: .fails(argument, "not a path")),
        ]
    }
}
