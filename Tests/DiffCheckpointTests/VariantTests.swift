import DiffTensor
import Glibc
import Testing

@testable import DiffCheckpoint

extension All {
    @Suite struct VariantTests {
        let scratch = Scratch()

        private func put(_ name: String, _ value: Float) throws {
            try SafetensorsWriter.write(["a": Tensor([value], Shape(1))], to: "\(scratch.path)/\(name)")
        }

        private func value(_ variant: String? = nil) throws(DiffError) -> Float? {
            try Checkpoint.open(path: scratch.path, variant: variant).tensors.load("a").array.first
        }

        @Test func thePlainFileComesFirstAndAnOnlyVariantWillDo() throws {
            try put("diffusion_pytorch_model.fp16.safetensors", 16)
            #expect(try value() == 16)
            #expect(try value("fp16") == 16)
            try put("diffusion_pytorch_model.non_ema.safetensors", 2)
            let several = try #require(error { () throws(DiffError) in try value() })
            #expect(several.code == .format && several.message.contains("the variants fp16, non_ema: choose one"))
            #expect(try value("non_ema") == 2)
            try put("diffusion_pytorch_model.safetensors", 1)
            #expect(try value() == 1)
            #expect(try value("fp16") == 16)
            let unknown = try #require(error { () throws(DiffError) in try value("int8") })
            #expect(unknown.code == .io && unknown.message.hasSuffix("there are: fp16, non_ema"))
        }

        @Test(arguments: [
            "model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json",
            "model.safetensors.fp16.index.json",
        ]) func shardsOfAVariant(_ index: String) throws {
            for shard in ["model.fp16-00001-of-00001.safetensors", "model-00001-of-00001.fp16.safetensors"] {
                try put(shard, 7)
                scratch.write(index, Array(#"{"weight_map": {"a": "\#(shard)"}}"#.utf8))
                #expect(try value() == 7)
                #expect(try value("fp16") == 7)
            }
        }

        @Test func partsOfAPipelineWithoutTheVariantGiveThePlainFile() throws {
            scratch.write("model_index.json", Array(#"{"unet": ["a", "b"], "vae": ["a", "b"], "_x": 1}"#.utf8))
            for part in ["unet", "vae"] { mkdir("\(scratch.path)/\(part)", 0o755) }
            try put("unet/diffusion_pytorch_model.fp16.safetensors", 16)
            try put("unet/diffusion_pytorch_model.safetensors", 1)
            try put("vae/diffusion_pytorch_model.safetensors", 3)
            let pipeline = try Checkpoint.open(path: scratch.path, variant: "fp16")
            #expect(try pipeline.subdirectory("unet").tensors.load("a").array == [16])
            #expect(try pipeline.subdirectory("vae").tensors.load("a").array == [3])
            #expect(error { () throws(DiffError) in try value("bf16") }?.message.hasSuffix("there are: fp16") == true)
        }

        @Test func aFileHasNoVariants() throws {
            try put("a.safetensors", 1)
            let path = "\(scratch.path)/a.safetensors"
            #expect(
                error { () throws(DiffError) in try Checkpoint.open(path: path, variant: "fp16") }?.code
                    == .invalidArgument)
        }
    }

    @Suite struct TensorViewTests {
        let scratch = Scratch()

        private func table() throws -> TensorTable {
            try SafetensorsWriter.write(
                [
                    "m.qkv": Tensor((0..<12).map(Float.init), Shape(6, 2)), "m.odd": Tensor([1, 2, 3], Shape(3)),
                    "m.half": SafetensorsTests.raw([0x3c00, 0x4000, 0xc000, 0], [4], .f16),
                    "other": Tensor([5], Shape(1)),
                ], to: "\(scratch.path)/f.safetensors")
            return try TensorTable(FileBytes(path: "\(scratch.path)/f.safetensors"))
        }

        @Test func partsAreReadInPlace() throws {
            let view = try table().renamed(
                [
                    "k": TensorSource("m.qkv", .rows(1, of: 3)), "s": TensorSource("m.qkv", .swappedHalves),
                    "t": TensorSource("m.qkv", .transposed), "h": TensorSource("m.half", .swappedHalves),
                    "none": TensorSource("m.none"),
                ], identities: ["one": 3]
            ) { $0 == "gone" ? "m.gone" : nil }
            #expect(view.names == ["h", "k", "one", "s", "t"] && view.byteCount == 4 * (4 + 12 + 12 + 9) + 8)
            #expect(try view.load("k").array == [4, 5, 6, 7])
            #expect(try view.load("s").array == [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5])
            #expect(try view.load("t").array == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11])
            #expect(try view.load("t").shape == Shape(2, 6))
            #expect(try view.load("one").array == [1, 0, 0, 0, 1, 0, 0, 0, 1])
            #expect(try view.load("h").widened(budget: nil).array == [-2, 0, 1, 2])
            #expect(
                view.sourceName("k") == "m.qkv" && view.sourceName("gone") == "m.gone" && view.sourceName("x") == "x")
            let missing = error { () throws(DiffError) in try view.load("gone") }
            #expect(missing?.message.contains("no tensor \"m.gone\"") == true)
            // Views of views keep the names of the file, and parts of parts of rows are rows.
            let again = try view.renamed(["x": TensorSource("k", .rows(1, of: 2)), "t": TensorSource("t")])
            #expect(try again.load("x").array == [6, 7] && again.sourceName("x") == "m.qkv")
            #expect(try again.load("t").array == view.load("t").array)
        }

        @Test func everyPieceOfAPartIsTheSame() throws {
            let view = try table().renamed(
                [
                    "s": TensorSource("m.qkv", .swappedHalves), "t": TensorSource("m.qkv", .transposed),
                    "k": TensorSource("m.qkv", .rows(2, of: 3)),
                ], identities: ["i": 3])
            for name in view.names {
                let place = try view.place(name)
                let whole = try view.load(name).array
                for first in 0..<whole.count {
                    for count in 0...(whole.count - first) {
                        let block = try Storage(byteCount: max(4, 4 * count + 4), budget: nil)
                        try view.read(place, from: 4 * first, count: 4 * count, into: block, at: 4)
                        let piece = try Tensor(block, Shape(count), offset: 1).array
                        #expect(piece == Array(whole[first..<(first + count)]), "\(name) \(first) \(count)")
                    }
                }
            }
        }

        @Test func whatHasNoSuchPartsIsRefused() throws {
            let table = try table()
            for source in [
                TensorSource("m.odd", .swappedHalves), TensorSource("m.odd", .transposed),
                TensorSource("m.odd", .rows(0, of: 2)),
                TensorSource("m.qkv", .rows(3, of: 3)), TensorSource("m.qkv", .rows(-1, of: 3)),
                TensorSource("m.qkv", .rows(0, of: 0)),
            ] {
                #expect(error { () throws(DiffError) in try table.renamed(["a": source]) }?.code == .format)
            }
            let stripped = try table.stripped(of: "m.")
            #expect(stripped.names == ["half", "odd", "qkv"] && stripped.sourceName("z") == "m.z")
        }
    }
}
