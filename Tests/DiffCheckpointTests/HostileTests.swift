import DiffTensor
import Glibc
import Testing

@testable import DiffCheckpoint

extension All {
    @Suite struct HostileTests {
        @Test func everyVerdict() {
            var ids: Set<String> = []
            for hostile in Hostile.all {
                #expect(ids.insert(hostile.id).inserted, "two files are called \(hostile.id)")
                let scratch = Scratch()
                let path = scratch.add(hostile)
                let found = error { () throws(DiffError) in try loadAll(path) }
                switch hostile.verdict {
                case .loads: #expect(found == nil, "\(hostile.id): \(found?.message ?? "")")
                case .fails(let code, let part):
                    #expect(found?.code.rawValue == code, "\(hostile.id): \(found?.message ?? "loaded")")
                    #expect(
                        !part.isEmpty && found?.message.contains(part) ?? false,
                        "\(hostile.id): \(found?.message ?? "")")
                    #expect((found?.message.utf8.count ?? 0) <= DiffError.maxMessageBytes)
                }
            }
            print("hostile checkpoints: \(ids.count)")
            #expect(ids.count >= 400)
        }

        /// Nothing is left open by refusals, and a good file loads after them.
        @Test func noDescriptorIsLost() throws {
            let files = Hostile.shards + Hostile.places
            let kept = undisturbed {
                let before = Scratch.entries("/proc/self/fd").count
                for hostile in files {
                    let scratch = Scratch()
                    let path = scratch.add(hostile)
                    _ = try? loadAll(path)
                }
                return Scratch.entries("/proc/self/fd").count == before
            }
            #expect(kept)
            let scratch = Scratch()
            #expect(try loadAll(scratch.write("a.safetensors", Hostile.good)).tensors.names == ["a"])
        }

        static var sample: [UInt8] {
            let entries = [
                Hostile.entry("blocks.0.weight", "F32", "[2,3]", "[0,24]"),
                Hostile.entry("blocks.0.bias", "BF16", "[3]", "[24,30]"),
                Hostile.entry("x", "F16", "[1,1,1]", "[30,32]"), Hostile.entry("n", "F32", "[0]", "[32,32]"),
                Hostile.entry("\\u00e9", "F32", "[]", "[32,36]"),
            ]
            return Hostile.image(
                "{\"__metadata__\":{\"format\":\"pt\"}," + entries.joined(separator: ",") + "} ", data: 36)
        }

        @Test func everyPrefix() {
            let scratch = Scratch()
            let whole = Self.sample
            for count in 0..<whole.count {
                let path = scratch.write("p.safetensors", Array(whole.prefix(count)))
                #expect(error { () throws(DiffError) in try loadAll(path) } != nil, "the first \(count) bytes")
            }
            #expect(error { () throws(DiffError) in try loadAll(scratch.write("p.safetensors", whole)) } == nil)
        }

        @Test func everyByteChanged() {
            let scratch = Scratch()
            let whole = Self.sample
            var (loaded, refused) = (0, 0)
            for position in whole.indices {
                let byte = whole[position]
                for value in [0, 0x7f, 0x80, 0xff, byte &+ 1, byte &- 1] where value != byte {
                    var changed = whole
                    changed[position] = value
                    let path = scratch.write("m.safetensors", changed)
                    if error({ () throws(DiffError) in try loadAll(path) }) == nil {
                        loaded += 1
                    } else {
                        refused += 1
                    }
                }
            }
            // Elements and letters of names may change freely, and nothing else.
            print("single-byte changes: \(loaded) load, \(refused) are refused")
            #expect(refused > loaded)
        }

        /// Random changes of several bytes and splices; the seed is fixed.
        @Test func randomChanges() {
            let scratch = Scratch()
            var state: UInt64 = 42
            func random(_ bound: Int) -> Int {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int((state >> 33) % UInt64(bound))
            }
            let tokens = [
                "{", "}", "[", "]", ",", ":", "\"", "-", "0", "1", "9223372036854775807", "null", "\\u0000", "F64",
                "e9",
            ]
            for _ in 0..<3000 {
                var bytes = Self.sample
                for _ in 0...random(3) {
                    let at = random(bytes.count)
                    switch random(3) {
                    case 0: bytes[at] = UInt8(random(256))
                    case 1: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random(8)))
                    default: bytes.insert(contentsOf: Array(tokens[random(tokens.count)].utf8), at: at)
                    }
                }
                // Half of them with the length set right, so that the table is reached.
                if random(2) == 0, bytes.count > 44 {
                    bytes.replaceSubrange(0..<8, with: Hostile.image("", length: UInt64(bytes.count - 44)))
                }
                let path = scratch.write("r.safetensors", bytes)
                _ = error { () throws(DiffError) in try loadAll(path) }
            }
        }

        /// Four times the file and 16 MiB bound what refusing takes.
        @Test func memoryOfRefusal() {
            for hostile in Hostile.json + Hostile.overlaps {
                let scratch = Scratch()
                let path = scratch.add(hostile)
                guard case .bytes(let bytes) = hostile.files[0].content, bytes.count > 100_000 else { continue }
                let bounded = undisturbed {
                    let before = Resident.reset()
                    _ = error { () throws(DiffError) in try loadAll(path) }
                    return Resident.peak - before <= Limits.parseMemory(fileSize: bytes.count)
                }
                #expect(bounded, "\(hostile.id)")
            }
        }

        /// The estimate that refuses texts is above what reading them takes.
        @Test func estimateHolds() throws {
            func list(_ element: String, _ count: Int) -> String {
                "[" + String(repeating: element + ",", count: count - 1) + element + "]"
            }
            let entries = (0..<5_000).map {
                Hostile.entry("blocks.\($0).attn.to_q.weight", "F32", "[1152,1152]", "[\($0 * 4),\($0 * 4 + 4)]")
            }
            let map = (0..<10_000).map { "\"blocks.\($0).attn.to_q.weight\":\"model-00001-of-00002.safetensors\"" }
            let texts = [
                ("integers", list("1", 80_000)), ("numbers", list("1.5", 80_000)), ("strings", list("\"\"", 80_000)),
                ("long strings", list("\"" + String(repeating: "a", count: 40) + "\"", 30_000)),
                ("arrays", list("[]", 50_000)),
                ("arrays of one", list("[1]", 50_000)), ("objects", list("{}", 30_000)),
                ("objects of one", list("{\"a\":1}", 30_000)),
                ("entries", "{" + entries.joined(separator: ",") + "}"),
                ("map", "{" + map.joined(separator: ",") + "}"),
                ("one string", "[\"" + String(repeating: "b", count: 4_000_000) + "\"]"),
                ("one member", list("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}", 50_000)),
            ]
            for (name, text) in texts {
                let bytes = Array(text.utf8)
                let limits = JSON.Limits(bytes: 100_000_000, values: .max)
                let bound = bytes.withUnsafeBytes { JSONScan($0).memory }
                let holds = undisturbed {
                    let before = Resident.reset()
                    let json = bytes.withUnsafeBytes { raw in try? JSON(parsing: raw, limits: limits, source: name) }
                    // The text was there before; a megabyte for the allocator's and the suite's own needs.
                    return json != nil && Resident.peak - before + bytes.count <= bound + (1 << 20)
                }
                #expect(holds, "\(name)")
            }
        }

        /// Writes the files and their verdicts to `$DIFFACCEL_HOSTILE_OUT`, for tests in other languages.
        @Test func export() throws {
            guard let out = getenv("DIFFACCEL_HOSTILE_OUT").map({ String(cString: $0) }) else { return }
            var table = ""
            for hostile in Hostile.all where !hostile.target.utf8.contains(0) && hostile.target.utf8.count < 1000 {
                let folder = "\(out)/\(hostile.id)"
                mkdir(folder, 0o755)
                let path = Scratch(at: folder).add(hostile)
                switch hostile.verdict {
                case .loads: table += "\(path)\t0\t\n"
                case .fails(let code, let part): table += "\(path)\t\(code)\t\(part)\n"
                }
            }
            try AtomicFile.write(table, to: "\(out)/verdicts.tsv")
        }

        /// Judges every file in `$DIFFACCEL_JUDGE` and writes `verdicts.tsv` there: name, status, text. For
        /// comparison with the reference library, which the tests of the Python package run.
        @Test func judge() throws {
            guard let folder = getenv("DIFFACCEL_JUDGE").map({ String(cString: $0) }) else { return }
            var table = ""
            for name in Scratch(at: folder).names where name.hasSuffix(".safetensors") {
                let found = error { () throws(DiffError) in try Checkpoint.open(path: "\(folder)/\(name)") }
                table += "\(name)\t\(found?.code.rawValue ?? 0)\t\(found?.message ?? "")\n"
            }
            try AtomicFile.write(table, to: "\(folder)/verdicts.tsv")
        }
    }
}
