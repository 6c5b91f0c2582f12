import DiffCheckpoint
import DiffTensor
import Foundation
import TestSupport
import Testing

@testable import DiffModels

/// LoRA files of every naming against what diffusers and PEFT change (`Tools/fixtures/lora_names.py`).
@Suite struct LoRATests {
    static let styles = ["peft", "diffusers", "processors", "kohya", "kohya_xl", "sd3", "metadata"]

    @Test(arguments: styles) func changesTheLayersThatDiffusersChanges(_ style: String) throws {
        let names = try LoRAFixture(style)
        let file = try LoRAFile.open(names.lora)
        #expect(file.layerCount == names.layers.count)
        try file.require(Array(names.tensors.keys))
        for (part, tensors) in names.tensors {
            let updates = try file.updates(of: part, config: names.configs[part], tensors: tensors, scale: 2)
            let expected = names.layers.filter { $0.part == part }
            #expect(updates.names == expected.map(\.tensor).sorted())
            for layer in expected {
                let found = try #require(updates.of(layer.tensor)?.first)
                #expect(updates.of(layer.tensor)?.count == 1)
                #expect(abs(found.scale - 2 * layer.scale) < 1e-6, "\(layer.tensor)")
                #expect(
                    found.table.sourceName(found.up) == layer.up && found.table.sourceName(found.down) == layer.down)
            }
        }
    }

    /// Weights before and after `fuse_lora`: tens of megabytes, which diffusers writes and no clone holds.
    @Test(
        .enabled(
            if: ProcessInfo.processInfo.environment["DIFFACCEL_LORA_MERGED"] != nil,
            "DIFFACCEL_LORA_MERGED names no folder that Tools/fixtures/lora_names.py --merged FOLDER wrote"),
        arguments: styles
    ) func mergesAsDiffusersDoes(_ style: String) throws {
        let folder = ProcessInfo.processInfo.environment["DIFFACCEL_LORA_MERGED"] ?? ""
        let names = try LoRAFixture(style)
        let file = try LoRAFile.open("\(folder)/\(style).safetensors")
        for part in names.tensors.keys {
            let before = try TensorTable(FileBytes(path: "\(folder)/\(style).\(part).before.safetensors"))
            let after = try TensorTable(FileBytes(path: "\(folder)/\(style).\(part).after.safetensors"))
            let updates = try file.updates(of: part, config: names.configs[part], tensors: before, scale: 0.7)
            let weights = Weights(before, options: Weights.Options(updates: updates))
            for name in before.names where before.info(name)?.type == .f32 {
                let shape = try #require(before.info(name)?.shape)
                let (mine, theirs) = (try weights.tensor(name, shape).array, try after.load(name).array)
                let difference = zip(mine, theirs).map { abs($0 - $1) }.max() ?? 0
                #expect(difference <= 2e-6, "\(part): \(name): \(difference)")
            }
        }
    }

    private func write(_ tensors: [String: Tensor], _ directory: ScratchDirectory, metadata: [String: String] = [:])
        throws -> String
    {
        let path = try directory.file("lora.safetensors")
        try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
        return path
    }

    private func pair(_ name: String, _ outputs: Int, _ inputs: Int) throws -> [String: Tensor] {
        [
            "\(name).lora_up.weight": try Tensor([Float](repeating: 1, count: outputs), Shape(outputs, 1)),
            "\(name).lora_down.weight": try Tensor([Float](repeating: 1, count: inputs), Shape(1, inputs)),
        ]
    }

    private func error<T>(_ body: () throws(DiffError) -> T) -> DiffError? {
        do throws(DiffError) {
            _ = try body()
            return nil
        } catch { return error }
    }

    @Test(arguments: [
        ("lora_unet_a.dora_scale", "DoRA"), ("unet.a.lora_magnitude_vector", "DoRA"), ("lora_unet_a.hada_w1_a", "LoHa"),
        ("lora_unet_a.lokr_w1", "LoKr"), ("lora_unet_a.diff", "differences"), ("unet.a.lora_B.bias", "biases"),
        ("bundle_emb.cat.string_to_param.*", "embeddings"), ("clip.weight", "other names"),
    ]) func otherMethodsAreRefusedByName(_ name: String, _ method: String) throws {
        let directory = try ScratchDirectory()
        var tensors = try pair("lora_unet_a", 2, 2)
        tensors[name] = try Tensor([1], Shape(1))
        let path = try write(tensors, directory)
        let found = try #require(error { () throws(DiffError) in try LoRAFile.open(path) })
        #expect(found.code == .unsupported && found.message.contains(method) && found.message.contains(name))
    }

    @Test func incompleteFilesAreRefused() throws {
        let directory = try ScratchDirectory()
        var tensors = try pair("lora_unet_a", 2, 2)
        tensors["lora_unet_b.lora_up.weight"] = try Tensor([1], Shape(1, 1))
        let path = try write(tensors, directory)
        #expect(
            error { () throws(DiffError) in try LoRAFile.open(path) }?.message.hasSuffix(
                "denoiser b: a layer without both factors") == true)
        tensors["lora_unet_b.lora_up.weight"] = nil
        tensors["lora_unet_a.alpha"] = try Tensor([1, 2], Shape(2))
        let other = try write(tensors, directory)
        #expect(error { () throws(DiffError) in try LoRAFile.open(other) }?.code == .format)
        let none = try write(["a.alpha": Tensor([1], Shape(1))], directory)
        #expect(error { () throws(DiffError) in try LoRAFile.open(none) }?.code == .format)
        let dora = try write(
            pair("lora_unet_a", 2, 2), directory, metadata: ["lora_adapter_metadata": #"{"unet.use_dora": true}"#])
        #expect(error { () throws(DiffError) in try LoRAFile.open(dora) }?.code == .unsupported)
    }

    @Test func aLoRAForAnotherModelIsRefusedWithWhatItLooksLike() throws {
        let xl = try LoRAFixture("kohya_xl")
        let sd1 = try LoRAFixture("kohya")
        let file = try LoRAFile.open(sd1.lora)
        let tensors = try #require(xl.tensors["unet"])
        let found = try #require(
            error { () throws(DiffError) in
                try file.updates(of: "unet", config: xl.configs["unet"], tensors: tensors, scale: 1)
            })
        #expect(
            found.code == .incompatible && found.message.contains("layers for the denoiser fit nothing in this model"))
        #expect(
            found.message.hasSuffix("it was made for another model: take the one made for this model, or leave it out"))
        #expect(
            error { () throws(DiffError) in try LoRAFile.open(xl.lora).require(["unet", "text_encoder"]) }?.message
                .contains(
                    "it changes the text_encoder_2, which this model has not") == true)
        let directory = try ScratchDirectory()
        let name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
        let wide = try LoRAFile.open(write(pair(name, 64, 2048), directory))
        #expect(wide.family == "Stable Diffusion XL")
        let own = try #require(sd1.tensors["unet"])
        let misfit = try #require(
            error { () throws(DiffError) in try wide.updates(of: "unet", config: nil, tensors: own, scale: 1) })
        #expect(misfit.code == .shape && misfit.message.contains("it looks like a LoRA for Stable Diffusion XL"))
        for scale in [Double.nan, .infinity, 1e300] {
            #expect(
                error { () throws(DiffError) in try file.updates(of: "unet", config: nil, tensors: own, scale: scale) }?
                    .code
                    == .invalidArgument)
        }
    }

    @Test func fusedProjectionsMeetInBothDirections() throws {
        let directory = try ScratchDirectory()
        let weights = ["a.attn.to_qkv.weight": try Tensor([Float](repeating: 0, count: 12), Shape(6, 2))]
        try directory.write(weights, as: "model.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/model.safetensors"))
        let file = try LoRAFile.open(write(pair("lora_unet_a_attn_to_k", 2, 2), directory))
        let updates = try file.updates(of: "unet", config: nil, tensors: table, scale: 3)
        let merged = try Weights(table, options: Weights.Options(updates: updates)).tensor(
            "a.attn.to_qkv.weight", [6, 2])
        #expect(merged.array == [0, 0, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0])
        // The original layout of Stable Diffusion 3 has one projection where diffusers has three.
        let split = ["to_q", "to_k", "to_v"].reduce(into: [String: Tensor]()) {
            $0["transformer_blocks.0.attn.\($1).weight"] = try? Tensor([0, 0, 0, 0], Shape(2, 2))
        }
        try directory.write(split, as: "split.safetensors")
        let apart = try TensorTable(FileBytes(path: "\(directory.path)/split.safetensors"))
        let whole = "lora_unet_joint_blocks_0_x_block_attn_qkv"
        let lora = try LoRAFile.open(
            write(
                [
                    "\(whole).lora_up.weight": Tensor([1, 2, 3, 4, 5, 6], Shape(6, 1)),
                    "\(whole).lora_down.weight": Tensor([1, 10], Shape(1, 2)),
                ], directory))
        #expect(lora.family == "Stable Diffusion 3")
        let config: JSON = ["num_layers": 2, "joint_attention_dim": 4]
        let changed = try Weights(
            apart, options: .init(updates: lora.updates(of: "transformer", config: config, tensors: apart, scale: 1)))
        #expect(try changed.tensor("transformer_blocks.0.attn.to_k.weight", [2, 2]).array == [3, 30, 4, 40])
        #expect(try changed.tensor("transformer_blocks.0.attn.to_v.weight", [2, 2]).array == [5, 50, 6, 60])
    }

    @Test func everyLayerHasItsOwnAlpha() throws {
        let directory = try ScratchDirectory()
        let zeros = try Tensor([0, 0], Shape(1, 2))
        try directory.write(["a.weight": zeros, "b.weight": zeros, "c.weight": zeros], as: "model.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/model.safetensors"))
        var tensors: [String: Tensor] = [:]
        for name in ["a", "b", "c"] { tensors.merge(try pair("lora_unet_\(name)", 1, 2)) { $1 } }
        tensors["lora_unet_a.alpha"] = try Tensor([0.5], Shape([Int]()))
        tensors["lora_unet_b.alpha"] = try Tensor([4], Shape(1)).narrowed(to: .f16, budget: nil)
        let file = try LoRAFile.open(write(tensors, directory))
        let weights = Weights(
            table, options: .init(updates: try file.updates(of: "unet", config: nil, tensors: table, scale: 1)))
        #expect(try weights.tensor("a.weight", [1, 2]).array == [0.5, 0.5])
        #expect(try weights.tensor("b.weight", [1, 2]).array == [4, 4])
        #expect(try weights.tensor("c.weight", [1, 2]).array == [1, 1])
    }

    @Test func severalFilesAddUp() throws {
        let directory = try ScratchDirectory()
        try directory.write(["a.weight": Tensor([1, 1], Shape(1, 2))], as: "model.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/model.safetensors"))
        let file = try LoRAFile.open(write(pair("lora_unet_a", 1, 2), directory))
        let set = LoRASet([(file, 0.5), (file, 2)])
        let updates = try #require(try set.updates(of: "unet", config: nil, tensors: table))
        #expect(try Weights(table, options: .init(updates: updates)).tensor("a.weight", [1, 2]).array == [3.5, 3.5])
        #expect(try set.updates(of: "text_encoder", config: nil, tensors: table) == nil)
    }
}

/// A LoRA of one naming with the networks it is for, and what diffusers makes of it.
struct LoRAFixture {
    struct Layer {
        let part, tensor, down, up: String
        let rank: Int
        let scale: Double
    }

    private(set) var layers: [Layer] = []
    private(set) var configs: [String: JSON] = [:]
    private(set) var tensors: [String: TensorTable] = [:]
    let lora: String
    private let directory = try! ScratchDirectory()

    init(_ style: String) throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/LoRANames/\(style).txt"
        var (shapes, metadata): ([String: [String: Shape]], [String: String]) = ([:], [:])
        var factors: [String: Tensor] = [:]
        for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            switch words[0] {
            case "metadata": metadata["lora_adapter_metadata"] = words.dropFirst().joined(separator: " ")
            case "config":
                configs[words[1]] = try JSON(parsing: words.dropFirst(2).joined(separator: " "), source: style)
            case "weight":
                shapes[words[1], default: [:]][words[2]] = try Shape(words[3].split(separator: ",").map { Int($0)! })
            case "alpha": factors[words[1]] = try Tensor([Float(words[2])!], Shape([Int]()))
            default:
                let layer = Layer(
                    part: words[1], tensor: words[2], down: words[5], up: words[6], rank: Int(words[3])!,
                    scale: Double(words[4])!)
                layers.append(layer)
                let dims = try #require(shapes[layer.part]?[layer.tensor]).dims
                let ones = [Int](repeating: 1, count: dims.count - 2)
                factors[layer.down] = try Self.zeros([layer.rank] + dims.dropFirst())
                factors[layer.up] = try Self.zeros([dims[0], layer.rank] + ones)
            }
        }
        for (part, shapes) in shapes {
            try directory.write(shapes.mapValues { try Self.zeros($0.dims) }, as: "\(part).safetensors")
            tensors[part] = try TensorTable(FileBytes(path: "\(directory.path)/\(part).safetensors"))
        }
        lora = "\(directory.path)/lora.safetensors"
        try SafetensorsWriter.write(factors, metadata: metadata, to: lora)
    }

    private static func zeros(_ dims: [Int]) throws -> Tensor {
        let shape = try Shape(dims)
        return try Tensor([Float](repeating: 0, count: shape.count), shape)
    }
}
