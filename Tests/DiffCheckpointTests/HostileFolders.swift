/// What lies beside the weights: configurations, shard indices, and things that are no files.
extension Hostile {
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
            config("bom", text("\u{feff}{}"), .loads),
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
            directory("weights-sparse", [("model.safetensors", .sparse(1 << 40))], .fails(format, "nothing but zeros")),
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
