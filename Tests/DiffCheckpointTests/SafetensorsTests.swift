import DiffTensor
import Glibc
import Testing

@testable import DiffCheckpoint

extension All {
    @Suite struct SafetensorsTests {
        static func bytes(_ values: [some FixedWidthInteger]) -> [UInt8] {
            values.flatMap { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        }

        static func raw(_ values: [UInt16], _ dims: [Int], _ type: DType) throws -> Tensor {
            let block = try Storage(byteCount: values.count * 2, budget: nil)
            values.withUnsafeBytes { from in block.base?.copyMemory(from: from.baseAddress!, byteCount: from.count) }
            return try Tensor(block, Shape(dims), type)
        }

        @Test func roundTrip() throws {
            let scratch = Scratch()
            let path = "\(scratch.path)/a.safetensors"
            let tensors = [
                "w": try Tensor([1, -2, .infinity, .leastNonzeroMagnitude, -0.0, 6], Shape(2, 3)),
                "h": try Self.raw([0x3c00, 0x7e01, 0x8001], [3], .f16),
                "b": try Self.raw([0x3f80, 0xc000], [1, 2], .bf16),
                "s": try Tensor([7], Shape([])), "z": try Tensor([], Shape(0, 5)), "é\"\\": try Tensor([8], Shape(1)),
            ]
            try SafetensorsWriter.write(tensors, metadata: ["format": "pt", "a": "é\n"], to: path)
            let first = scratch.read("a.safetensors")
            try SafetensorsWriter.write(tensors, metadata: ["a": "é\n", "format": "pt"], to: path)
            #expect(scratch.read("a.safetensors") == first)
            #expect(scratch.names == ["a.safetensors"])
            #expect(first[0] % 8 == 0)

            let table = try Checkpoint.open(path: path).tensors
            #expect(table.metadata == ["format": "pt", "a": "é\n"])
            #expect(table.names == ["b", "h", "s", "w", "z", "é\"\\"])
            for (name, tensor) in tensors {
                let read = try table.load(name)
                #expect(read.dtype == tensor.dtype && read.shape == tensor.shape)
                let (a, b) = (try #require(read.raw), try #require(tensor.raw))
                #expect(memcmp(a, b, read.byteCount) == 0, "\(name)")
                #expect(table.info(name)!.offset % read.dtype.size == 0)
            }
            #expect(table.byteCount == 24 + 6 + 4 + 4 + 0 + 4)
        }

        @Test func noTensors() throws {
            let scratch = Scratch()
            try SafetensorsWriter.write([:], to: "\(scratch.path)/e.safetensors")
            #expect(try Checkpoint.open(path: "\(scratch.path)/e.safetensors").tensors.count == 0)
        }

        @Test func refusesNames() throws {
            let scratch = Scratch()
            let tensor = try Tensor([1], Shape(1))
            for name in ["", "__metadata__", "a\0b", String(repeating: "x", count: 1025)] {
                let found = error { () throws(DiffError) in
                    try SafetensorsWriter.write([name: tensor], to: "\(scratch.path)/n")
                }
                #expect(found?.code == .invalidArgument)
            }
            #expect(
                error { () throws(DiffError) in
                    try SafetensorsWriter.write([:], metadata: ["a": "\0"], to: "\(scratch.path)/n")
                }?.code == .invalidArgument)
            let virtual = try Tensor(Storage(virtual: 4), Shape(1))
            #expect(
                error { () throws(DiffError) in try SafetensorsWriter.write(["v": virtual], to: "\(scratch.path)/n")
                }?.code == .internal)
            #expect(scratch.names.isEmpty)
        }

        @Test func smallTensors() throws {
            let scratch = Scratch()
            let parts: [(String, String, Int, [UInt8])] = [
                ("bool", "BOOL", 2, [0, 1]), ("u8", "U8", 2, [3, 255]), ("i8", "I8", 2, [3, 255]),
                ("u16", "U16", 1, Self.bytes([UInt16.max])), ("i16", "I16", 1, Self.bytes([Int16.min])),
                ("u32", "U32", 1, Self.bytes([UInt32.max])), ("i32", "I32", 2, Self.bytes([Int32.min, 5])),
                ("i64", "I64", 2, Self.bytes([Int64.min, .max])), ("u64", "U64", 1, Self.bytes([UInt64(5)])),
                ("u64big", "U64", 1, Self.bytes([UInt64.max])),
                ("f64", "F64", 2, Self.bytes([(0.1).bitPattern, (-2.5).bitPattern])),
                ("f32", "F32", 2, Self.bytes([Float(0.1).bitPattern, Float.nan.bitPattern])),
                ("f16", "F16", 1, Self.bytes([UInt16(0xc000)])),
                ("bf16", "BF16", 1, Self.bytes([UInt16(0x3f80)])), ("f8", "F8_E4M3", 1, [1]), ("none", "I64", 0, []),
            ]
            var (entries, data): ([String], [UInt8]) = ([], [])
            for (name, type, count, bytes) in parts {
                entries.append(Hostile.entry(name, type, "[\(count)]", "[\(data.count),\(data.count + bytes.count)]"))
                data += bytes
            }
            let path = scratch.write(
                "s.safetensors", Hostile.image("{" + entries.joined(separator: ",") + "}") + data)
            let table = try Checkpoint.open(path: path).tensors
            #expect(try table.integers("bool") == [0, 1])
            #expect(try table.integers("u8") == [3, 255])
            #expect(try table.integers("i8") == [3, -1])
            #expect(try table.integers("u16") == [65535])
            #expect(try table.integers("i16") == [-32768])
            #expect(try table.integers("u32") == [4_294_967_295])
            #expect(try table.integers("i32") == [-2_147_483_648, 5])
            #expect(try table.integers("i64") == [.min, .max])
            #expect(try table.integers("u64") == [5])
            #expect(try table.integers("none") == [])
            #expect(try table.doubles("f64") == [0.1, -2.5])
            #expect(try table.doubles("i32") == [-2_147_483_648, 5])
            #expect(try table.floats("f64") == [0.1, -2.5])
            #expect(try table.floats("f16") == [-2])
            #expect(try table.doubles("bf16") == [1])
            let f32 = try table.doubles("f32")
            #expect(f32[0] == Double(Float(0.1)) && f32[1].isNaN)
            for (name, code) in [
                ("u64big", DiffError.Code.unsupported), ("f32", .unsupported), ("f8", .unsupported),
                ("absent", .format),
            ] {
                #expect(error { () throws(DiffError) in try table.integers(name) }?.code == code, "\(name)")
            }
            #expect(error { () throws(DiffError) in try table.floats("f8") }?.code == .unsupported)
            let found = error { () throws(DiffError) in try table.load("i64") }
            #expect(found?.code == .unsupported && found?.message.contains("\"i64\": I64") ?? false)
        }

        @Test func budgetIsKept() throws {
            let scratch = Scratch()
            let path = scratch.write("a.safetensors", Hostile.one("F32", "[1000]", "[0,4000]", data: 4000))
            let table = try Checkpoint.open(path: path).tensors
            let budget = try MemoryBudget(limit: 3999)
            #expect(error { () throws(DiffError) in try table.load("a", budget: budget) }?.code == .overBudget)
            #expect(budget.used == 0)
            let enough = try MemoryBudget(limit: 8192)
            _ = try table.load("a", budget: enough)
            #expect(enough.peak >= 4000 && enough.used == 0)
        }
    }

    @Suite struct FileTests {
        @Test func atomicFile() throws {
            let scratch = Scratch()
            let path = "\(scratch.path)/f"
            try AtomicFile.write("one", to: path)
            do {
                let file = try AtomicFile(path: path)
                try Array("two".utf8).withUnsafeBufferPointer { bytes throws(DiffError) in
                    try file.write(UnsafeRawBufferPointer(bytes))
                }
                #expect(scratch.names.count == 2)
                #expect(scratch.read("f") == Array("one".utf8))
            }
            #expect(scratch.names == ["f"])
            chmod(path, 0o600)
            try AtomicFile.write("", to: path)
            #expect(scratch.read("f").isEmpty)
            var status = stat()
            #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
            let file = try AtomicFile(path: path)
            try file.commit()
            #expect(error { () throws(DiffError) in try file.commit() }?.code == .internal)
        }

        @Test func refusesTargets() throws {
            let scratch = Scratch()
            scratch.write("real", [1])
            symlink("real", "\(scratch.path)/link")
            symlink("nowhere", "\(scratch.path)/broken")
            mkdir("\(scratch.path)/dir", 0o755)
            mkfifo("\(scratch.path)/pipe", 0o644)
            let names = scratch.names
            let cases: [(String, DiffError.Code)] = [
                ("link", .io), ("broken", .io), ("dir", .io), ("pipe", .io), ("none/f", .io), ("real/f", .io),
                ("", .invalidArgument),
                ("dir/", .invalidArgument), ("dir/..", .invalidArgument), ("a\0b", .invalidArgument),
                (String(repeating: "n", count: 256), .invalidArgument),
            ]
            for (name, code) in cases {
                let found = error { () throws(DiffError) in try AtomicFile.write("x", to: "\(scratch.path)/\(name)") }
                #expect(found?.code == code, "\(name)")
            }
            #expect(error { () throws(DiffError) in try AtomicFile.write("x", to: "") }?.code == .invalidArgument)
            #expect(scratch.names == names && scratch.read("real") == [1])
            if geteuid() != 0 {
                chmod(scratch.path, 0o555)
                #expect(
                    error { () throws(DiffError) in try AtomicFile.write("x", to: "\(scratch.path)/new") }?.code
                        == .io)
                chmod(scratch.path, 0o755)
            }
            // A name of full length still has room for its temporary file.
            try AtomicFile.write("x", to: "\(scratch.path)/" + String(repeating: "n", count: 255))
        }

        /// Large tensors are read in pieces by several threads: each piece at its place, and none missing unnoticed.
        @Test(arguments: [1 << 18, 3 << 18, (3 << 18) + 1, (5 << 18) - 3]) func piecesOfLargeTensors(count: Int) throws
        {
            let scratch = Scratch()
            let path = "\(scratch.path)/l.safetensors"
            let values = (0..<count).map { Float($0) }
            try SafetensorsWriter.write(["w": Tensor(values, Shape(count))], to: path)
            let checkpoint = try Checkpoint.open(path: path)
            let options = Weights.Options(pool: try WorkerPool(threads: 3))
            #expect(try checkpoint.weights(options).tensor("w", [count]).array == values)
            truncate(path, 8 * (1 << 18))
            let found = error { () throws(DiffError) in try checkpoint.weights(options).tensor("w", [count]) }
            #expect(found?.code == .io)
        }

        @Test func changedFile() throws {
            let scratch = Scratch()
            let path = scratch.write("a.safetensors", Hostile.one("F32", "[1000]", "[0,4000]", data: 4000))
            let table = try Checkpoint.open(path: path).tensors
            // Replaced under its name: the open file stays what it was.
            scratch.write("b", [0])
            rename("\(scratch.path)/b", path)
            _ = try table.load("a")
            let other = try Checkpoint.open(
                path: scratch.write("c.safetensors", Hostile.one("F32", "[1000]", "[0,4000]", data: 4000)))
            truncate("\(scratch.path)/c.safetensors", 2000)
            let found = error { () throws(DiffError) in try other.tensors.load("a") }
            #expect(found?.code == .io && found?.message.contains("changed") ?? false)
            truncate("\(scratch.path)/c.safetensors", 9000)
            #expect(error { () throws(DiffError) in try other.tensors.load("a") }?.code == .io)
        }

        @Test func changedShard() throws {
            let scratch = Scratch()
            scratch.write("model.safetensors.index.json", Array("{\"weight_map\":{\"a\":\"s.safetensors\"}}".utf8))
            scratch.write("s.safetensors", Hostile.good)
            let checkpoint = try Checkpoint.open(path: scratch.path)
            #expect(try checkpoint.tensors.load("a").array == [3.0039215])
            scratch.write("keep", [0])  // takes the place of the freed inode
            scratch.write("s.safetensors", Hostile.good)
            let found = error { () throws(DiffError) in try checkpoint.tensors.load("a") }
            #expect(found?.code == .io && found?.message.contains("changed") ?? false)
            unlink("\(scratch.path)/s.safetensors")
            #expect(error { () throws(DiffError) in try checkpoint.tensors.load("a") }?.code == .io)
        }

        @Test func linksOnRequest() throws {
            let scratch = Scratch()
            scratch.write("blob", Hostile.good)
            mkdir("\(scratch.path)/snapshot", 0o755)
            symlink("../blob", "\(scratch.path)/snapshot/model.safetensors")
            #expect(
                error { () throws(DiffError) in try Checkpoint.open(path: "\(scratch.path)/snapshot") }?.code == .io)
            let checkpoint = try Checkpoint.open(path: "\(scratch.path)/snapshot", followingLinks: true)
            #expect(checkpoint.tensors.names == ["a"])
        }

        @Test func pipelineFolder() throws {
            let scratch = Scratch()
            scratch.write("model_index.json", Array("{\"_class_name\":\"DiTPipeline\"}".utf8))
            mkdir("\(scratch.path)/transformer", 0o755)
            scratch.write("transformer/config.json", Array("{\"n\":1}".utf8))
            scratch.write("transformer/diffusion_pytorch_model.safetensors", Hostile.good)
            scratch.write("file", [])
            let pipeline = try Checkpoint.open(path: scratch.path)
            #expect(pipeline.pipeline == .object(["_class_name": .string("DiTPipeline")]))
            #expect(pipeline.config == nil && pipeline.tensors.count == 0)
            #expect(
                try pipeline.hasSubdirectory("transformer") && !pipeline.hasSubdirectory("vae")
                    && !pipeline.hasSubdirectory("file"))
            for name in ["..", "transformer/"] {
                #expect(error { () throws(DiffError) in _ = try pipeline.hasSubdirectory(name) }?.code == .format)
            }
            let part = try pipeline.subdirectory("transformer")
            #expect(part.tensors.names == ["a"])
            #expect(try part.configuration.integer("n", in: 1...1) == 1)
            #expect(error { () throws(DiffError) in try pipeline.subdirectory("..") }?.code == .format)
            #expect(error { () throws(DiffError) in try pipeline.subdirectory("vae") }?.code == .io)
            #expect(error { () throws(DiffError) in try pipeline.configuration }?.code == .format)
        }

        @Test func configOfTheCaller() throws {
            let scratch = Scratch()
            scratch.write("model.safetensors", Hostile.good)
            scratch.write("config.json", Array("not json".utf8))
            let checkpoint = try Checkpoint.open(path: scratch.path, config: .object(["a": .integer(2)]))
            #expect(try checkpoint.configuration.integer("a", in: 0...9) == 2)
            let file = try Checkpoint.open(path: "\(scratch.path)/model.safetensors", config: .object([:]))
            #expect(try file.config == .object([:]) && !file.hasSubdirectory("x"))
        }
    }
}
