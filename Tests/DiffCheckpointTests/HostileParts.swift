/// Parts of a checkpoint that are cut, broken, or of the wrong kind.
extension Hostile {
    // MARK: Cut configurations

    /// A configuration cut behind each of its marks, as a download that broke off leaves it.
    static var cutConfigurations: [HostileFile] {
        let text = "{\"a\":[1,{\"b\":\"c\"},null],\"d\":{\"e\":-1.5e3},\"f\":true}"
        var files: [HostileFile] = []
        for (position, mark) in text.utf8.enumerated()
        where "{}[],:\"".utf8.contains(mark) && position + 1 < text.utf8.count {
            let cut = Array(text.utf8.prefix(position + 1))
            files.append(
                directory(
                    "config-cut-\(position + 1)", [("config.json", .bytes(cut)), ("model.safetensors", .bytes(good))],
                    .fails(format, "config.json: bad JSON at line 1")))
        }
        return files
    }

    // MARK: Pipelines

    static var pipelines: [HostileFile] {
        func pipeline(
            _ id: String, _ content: HostileFile.Content, _ verdict: HostileFile.Verdict,
            weights: [(String, HostileFile.Content)] = []
        ) -> HostileFile {
            directory("pipeline-" + id, [("model_index.json", content)] + weights, verdict)
        }
        let deep = String(repeating: "[", count: 33) + String(repeating: "]", count: 33)
        return [
            pipeline("without-weights", text("{}"), .loads),
            pipeline("with-weights", text("{}"), .loads, weights: [("model.safetensors", .bytes(good))]),
            pipeline(
                "with-broken-weights", text("{}"), .fails(format, "model.safetensors: 1 bytes"),
                weights: [("model.safetensors", .bytes([1]))]),
            pipeline(
                "with-two-single-files", text("{}"), .loads,
                weights: [("a.safetensors", .bytes(good)), ("b.safetensors", .bytes(good))]),
            pipeline("empty", text(""), .fails(format, "model_index.json: empty")),
            pipeline("bad", text("{"), .fails(format, "model_index.json: bad JSON at line 1")),
            pipeline("duplicate", text("{\"a\":1,\"a\":1}"), .fails(format, "model_index.json: bad JSON")),
            pipeline("deep", text(deep), .fails(format, "model_index.json: JSON nested 33")),
            pipeline("not-utf8", .bytes([0x22, 0xff, 0x22]), .fails(format, "model_index.json: bad JSON")),
            pipeline("sparse", .sparse(1 << 40), .fails(format, "model_index.json: 1099511627776 bytes")),
            pipeline("pipe", .pipe, .fails(io, "model_index.json: a pipe")),
            pipeline("directory", .directory, .fails(io, "model_index.json: a directory")),
            pipeline("link", .link("/etc/hostname"), .fails(io, "model_index.json: cannot be opened")),
            pipeline("broken-link", .link("nowhere"), .fails(io, "model_index.json: cannot be opened")),
            pipeline("device", .link("/dev/zero"), .fails(io, "model_index.json: cannot be opened")),
            pipeline("link-to-itself", .link("model_index.json"), .fails(io, "model_index.json: cannot be opened")),
        ]
    }

    // MARK: Shards that are no good

    static let index = "model.safetensors.index.json"

    /// A good index over a shard with every fault a file alone can have.
    static var brokenShards: [HostileFile] {
        let overlap = image("{" + entry("a") + "," + entry("b") + "}", data: 4)
        let contents: [(String, HostileFile.Content, Int32, String)] = [
            ("empty", .bytes([]), format, "s.safetensors: an empty file"),
            ("seven-bytes", .bytes([2, 0, 0, 0, 0, 0, 0]), format, "s.safetensors: 7 bytes are too few"),
            ("no-header", .bytes(image("", length: 0)), format, "s.safetensors: nothing but zeros"),
            ("long-header", .bytes(image("{}", length: 3)), format, "s.safetensors: a header of 3 bytes"),
            (
                "huge-header", .bytes(image("{}", length: .max)), format,
                "s.safetensors: a header of 18446744073709551615"
            ),
            ("bad-json", .bytes(image("{!}")), format, "s.safetensors: bad JSON at line 1"),
            ("array", .bytes(image("[]")), format, "s.safetensors: the header does not begin"),
            ("short", .bytes(good.dropLast()), format, "s.safetensors: tensor \"a\": ends beyond"),
            ("long", .bytes(good + [0]), format, "s.safetensors: 1 bytes after"),
            ("overlap", .bytes(overlap), format, "s.safetensors: tensor"),
            (
                "unknown-type", .bytes(one("F5", "[1]", "[0,4]", data: 4)), format,
                "s.safetensors: tensor \"a\": unknown dtype"
            ),
            (
                "integers", .bytes(one("I32", "[1]", "[0,4]", data: 4)), unsupported,
                "tensor \"a\": I32 cannot be weights"
            ),
            ("no-tensors", .bytes(image("{}")), format, "not in the shards it names: a"),
            ("zip", .bytes([0x50, 0x4b, 3, 4] + [UInt8](repeating: 0, count: 60)), unsupported, "s.safetensors"),
            ("gguf", .bytes(Array("GGUF".utf8) + [UInt8](repeating: 0, count: 60)), unsupported, "s.safetensors"),
            ("sparse", .sparse(1 << 40), format, "s.safetensors: nothing but zeros"),
            ("broken-link", .link("nowhere"), io, "s.safetensors: cannot be opened: is a symbolic link"),
            ("link-to-itself", .link("s.safetensors"), io, "s.safetensors: cannot be opened: is a symbolic link"),
        ]
        let map = text("{\"weight_map\":{\"a\":\"s.safetensors\"}}")
        return contents.map { name, content, code, part in
            directory("broken-shard-" + name, [(index, map), ("s.safetensors", content)], .fails(code, part))
        }
    }

    // MARK: Texts of the index

    static var indexTexts: [HostileFile] {
        func indexed(_ id: String, _ json: String, _ part: String) -> HostileFile {
            directory(
                "index-text-" + id, [(index, text(json)), ("s.safetensors", .bytes(good))], .fails(format, part))
        }
        let long = String(repeating: "n", count: 1025)
        let names = (0..<10_001).map { "\"t\($0)\":\"\($0).safetensors\"" }.joined(separator: ",")
        var files = [
            indexed("empty", "", "index.json: empty"), indexed("number", "1", "index.json: expected an object"),
            indexed("null", "null", "index.json: expected an object"),
            indexed("map-null", "{\"weight_map\":null}", "index.json: weight_map: missing"),
            indexed("map-number", "{\"weight_map\":1}", "index.json: weight_map"),
            indexed("map-text", "{\"weight_map\":\"s.safetensors\"}", "index.json: weight_map"),
            indexed(
                "long-name", "{\"weight_map\":{\"\(long)\":\"s.safetensors\"}}", "a tensor's name has 1 to 1024 bytes"),
            indexed("10001-shards", "{\"weight_map\":{\(names)}}", "10001 shards; at most 10000"),
            indexed("nul-name", "{\"weight_map\":{\"a\\u0000\":\"s.safetensors\"}}", "index.json: bad JSON"),
            indexed("map-twice", "{\"weight_map\":{},\"weight_map\":{}}", "index.json: bad JSON"),
            indexed("upper-case", "{\"weight_map\":{\"a\":\"S.SAFETENSORS\"}}", "is not a .safetensors file"),
            indexed("ending-inside", "{\"weight_map\":{\"a\":\"s.safetensors.txt\"}}", "is not a .safetensors file"),
            indexed("url", "{\"weight_map\":{\"a\":\"https://x/s.safetensors\"}}", "is not the name of a file"),
            indexed("home", "{\"weight_map\":{\"a\":\"~/s.safetensors\"}}", "is not the name of a file"),
            indexed("drive", "{\"weight_map\":{\"a\":\"C:\\\\s.safetensors\"}}", "is not the name of a file"),
            indexed("tab", "{\"weight_map\":{\"a\":\"s\\t.safetensors\"}}", "is not the name of a file"),
        ]
        for (name, value) in [
            ("null", "null"), ("list", "[\"s.safetensors\"]"), ("object", "{}"), ("true", "true"), ("fraction", "0.5"),
        ] {
            files.append(
                indexed("value-\(name)", "{\"weight_map\":{\"a\":\(value)}}", "weight_map.a: expected a file name"))
        }
        return files
    }
}
