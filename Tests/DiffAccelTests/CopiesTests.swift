import DiffAccel
import DiffCheckpoint
import DiffModels
import Foundation
import TestSupport
import Testing

/// Tensors that a checkpoint holds more than once, or that follow from its config: equal ones are shared, others are used or refused.
@Suite struct CopiesTests {
    private static let table = "norm1.emb.class_embedder.embedding_table.weight"

    /// A DiT under diffusers names whose block 1 has a class table of its own, when it was `trained`.
    private func write(_ directory: ScratchDirectory, trained: Bool, depth: Int = 2) throws -> String {
        var dit = TinyDiT()
        dit.depth = depth
        var tensors = try dit.diffusersTensors(dit.tensors())
        if trained {
            var numbers = Numbers(42)
            tensors["transformer_blocks.1.\(Self.table)"] = try numbers.tensor([6, 24], scale: 0.3)
        }
        try directory.write(dit.diffusersConfig, as: "model/config.json")
        try directory.write(tensors, as: "model/diffusion_pytorch_model.safetensors")
        return "\(directory.path)/model"
    }

    private func forward(_ model: Model) throws -> [Float] {
        var numbers = Numbers(5)
        var inputs = NamedInputs()
        inputs.tensors = ["x": try numbers.tensor([2, 4, 8, 8]), "t": try Tensor([3, 700], Shape(2))]
        inputs.integers = ["y": [0, 5]]
        return try model.forward(inputs, threads: 1)["out"]?.array ?? []
    }

    private func conventions(_ model: Model) throws -> String {
        try JSONObject(model.description, source: "description").object("config").string("conventions")
    }

    // MARK: Embedders of a DiT

    @Test func embeddersThatDifferAreUsedAndTellOfTraining() throws {
        let directory = try ScratchDirectory()
        let shared = try Model(write(directory, trained: false))
        #expect(try conventions(shared) == "official")
        var options = ModelOptions()
        options.conventions = "diffusers"
        let plain = try forward(Model("\(directory.path)/model", options))
        let own = try Model(write(directory, trained: true))
        #expect(try conventions(own) == "diffusers", "only training in diffusers moves copies apart")
        #expect(try texts(own, "assumptions").first?.contains("embedders differ") == true)
        let outputs = try forward(own)
        #expect(Difference(outputs, plain).relative > 1e-3)
        let asked = try Model(own.path, options)
        #expect(try sameBits(forward(asked), outputs) && texts(asked, "assumptions").isEmpty)
        options.conventions = "official"
        let official = try Model(own.path, options)
        #expect(try conventions(official) == "official" && !sameBits(forward(official), outputs))
        #expect(own.bytes > shared.bytes)
    }

    @Test func aCopyThatIsMissingIsNamed() throws {
        let directory = try ScratchDirectory()
        let dit = TinyDiT()
        var tensors = try dit.diffusersTensors(dit.tensors())
        let name = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_2.bias"
        tensors[name] = nil
        try directory.write(dit.diffusersConfig, as: "config.json")
        try directory.write(tensors, as: "diffusion_pytorch_model.safetensors")
        #expect(failure { _ = try Model(directory.path) }?.message.contains(name) == true)
    }

    @Test func copiesThatAreLeftOutAreSharedAndTold() throws {
        let directory = try ScratchDirectory()
        let dit = TinyDiT()
        var tensors = try dit.diffusersTensors(dit.tensors())
        try directory.write(dit.diffusersConfig, as: "all/config.json")
        try directory.write(tensors, as: "all/diffusion_pytorch_model.safetensors")
        for name in tensors.keys where name.contains(".norm1.emb.") && !name.contains("blocks.0.") {
            tensors[name] = nil
        }
        try directory.write(dit.diffusersConfig, as: "one/config.json")
        try directory.write(tensors, as: "one/diffusion_pytorch_model.safetensors")
        let (all, one) = (try Model("\(directory.path)/all"), try Model("\(directory.path)/one"))
        #expect(try sameBits(forward(all), forward(one)))
        #expect(try texts(one, "assumptions").contains { $0.contains("use the first block's") })
        #expect(try !texts(all, "assumptions").contains { $0.contains("use the first block's") })
    }

    private func trainer(_ path: String, _ directory: ScratchDirectory, _ settings: [String: JSON]) throws -> Trainer {
        var numbers = Numbers(3)
        try directory.write(["latents": numbers.tensor([8, 4, 8, 8])], as: "x.safetensors")
        let labels = try directory.write(integers: [0, 1, 2, 3, 4, 0, 1, 2], [8], as: "y.npy")
        var members: [String: JSON] = [
            "data": .object(["latents": .string("\(directory.path)/x.safetensors"), "labels": .string(labels)]),
            "steps": .integer(3), "batch": .integer(4),
        ]
        members.merge(settings) { $1 }
        return try Trainer(path, .object(members))
    }

    @Test(arguments: [false, true]) func trainingMovesEachEmbedder(_ trained: Bool) throws {
        let directory = try ScratchDirectory()
        let path = try write(directory, trained: trained)
        let trainer = try trainer(path, directory, ["method": .string("finetune"), "learning_rate": .number(1e-2)])
        try trainer.run()
        let out = "\(directory.path)/out"
        try trainer.export(checkpoint: out)
        func tables(_ folder: String) throws -> [[Float]] {
            let tensors = try Checkpoint.open(path: folder).tensors
            return try (0..<2).map { try tensors.floats("transformer_blocks.\($0).\(Self.table)") }
        }
        let (before, after) = (try tables(path), try tables(out))
        #expect(before[0] != after[0] && before[1] != after[1])
        #expect((after[0] == after[1]) != trained)
        _ = try Model(out)
    }

    @Test func aPrunedCheckpointKeepsTheEmbeddersOfTheLastLayer() throws {
        for (trained, keep) in [(false, [1]), (true, [0]), (true, [1])] {
            let directory = try ScratchDirectory()
            let path = try write(directory, trained: trained)
            let trainer = try trainer(
                path, directory,
                ["method": .string("prune"), "rule": .string("index"), "keep": .array(keep.map { .integer($0) })])
            try trainer.run()
            let error = failure { try trainer.export(checkpoint: "\(directory.path)/out") }
            if trained, keep == [1] {
                #expect(error?.code == .incompatible && error?.message.contains("block 0") == true)
            } else {
                #expect(error == nil, "\(String(describing: error))")
                _ = try Model("\(directory.path)/out")
            }
        }
    }

    // MARK: Second names

    @Test func namesThatStandInTheMetadataOnlyAreTensors() throws {
        let directory = try ScratchDirectory()
        var tiny = TinyLanguageModel()
        tiny.isDream = true
        var tensors = try tiny.tensors()
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        try directory.write(tiny.config, as: "copies/config.json")
        try directory.write(tensors, as: "copies/model.safetensors")
        tensors["lm_head.weight"] = nil
        try directory.write(tiny.config, as: "names/config.json")
        try SafetensorsWriter.write(
            tensors, metadata: ["lm_head.weight": "model.embed_tokens.weight", "format": "pt"],
            to: directory.file("names/model.safetensors"))
        var inputs = NamedInputs()
        inputs.integers = ["tokens": [3, 4, 60, 5]]
        func logits(_ name: String) throws -> [Float] {
            try Model("\(directory.path)/\(name)").forward(inputs, threads: 1)["logits"]?.array ?? []
        }
        #expect(try sameBits(logits("copies"), logits("names")))
        try SafetensorsWriter.write(
            tensors, metadata: ["lm_head.weight": "model.embed"], to: directory.file("names/model.safetensors"))
        #expect(failure { _ = try logits("names") }?.message.contains("lm_head.weight") == true, "no tensor's name")
    }

    @Test func aDiTMayNameItsCopies() throws {
        let directory = try ScratchDirectory()
        let path = try write(directory, trained: false)
        let plain = try forward(Model(path))
        let file = "\(path)/diffusion_pytorch_model.safetensors"
        let table = try TensorTable(FileBytes(path: file))
        var (tensors, metadata): ([String: Tensor], [String: String]) = ([:], [:])
        for name in table.names {
            if name.contains("blocks.1.norm1.emb") {
                metadata[name] = name.replacingOccurrences(of: "blocks.1.", with: "blocks.0.")
            } else {
                tensors[name] = try table.load(name)
            }
        }
        try SafetensorsWriter.write(tensors, metadata: metadata, to: file)
        #expect(metadata.count == 5)
        #expect(try sameBits(forward(Model(path)), plain))
        let trainer = try trainer(path, directory, ["method": .string("finetune"), "learning_rate": .number(1e-2)])
        try trainer.run()
        try trainer.export(checkpoint: "\(directory.path)/out")
        let exported = try Checkpoint.open(path: "\(directory.path)/out").tensors
        #expect(exported.names == table.names)
        #expect(
            try exported.floats("transformer_blocks.0.\(Self.table)")
                == exported.floats("transformer_blocks.1.\(Self.table)"))
    }

    // MARK: Tied weights and buffers

    @Test(arguments: [false, true]) func aTiedHeadThatIsAnotherMatrixIsRefused(_ isDream: Bool) throws {
        let directory = try ScratchDirectory()
        var tiny = TinyLanguageModel()
        (tiny.isDream, tiny.isTied) = (isDream, true)
        let (table, head) =
            isDream
            ? ("model.embed_tokens.weight", "lm_head.weight")
            : ("model.transformer.wte.weight", "model.transformer.ff_out.weight")
        var tensors = try tiny.tensors()
        try directory.write(tiny.config, as: "config.json")
        tensors[head] = tensors[table]
        try directory.write(tensors, as: "model.safetensors")
        _ = try Model(directory.path)
        var values = try #require(tensors[table]).array
        values[values.count - 1] += 1
        tensors[head] = try Tensor(values, Shape(tiny.vocabulary, tiny.width))
        try directory.write(tensors, as: "model.safetensors")
        let error = failure { _ = try Model(directory.path) }
        #expect(error?.code == .incompatible && error?.message.contains(head) == true)
        #expect(error?.message.contains("must be false") == true)
    }

    @Test func frequenciesOfOtherPositionsAreRefused() throws {
        let directory = try ScratchDirectory()
        let tiny = TinyLanguageModel()
        var tensors = try tiny.tensors()
        let name = "model.transformer.blocks.0.rotary_emb.inv_freq"
        try directory.write(tiny.config, as: "config.json")
        for (base, isOurs) in [(500_000.0, true), (10_000, false)] {
            let values = (0..<4).map { Float(pow(base, -Double($0) / 4)) }
            tensors[name] = try Tensor(values, Shape(4)).narrowed(.bf16)
            try directory.write(tensors, as: "model.safetensors")
            let error = failure { _ = try Model(directory.path) }
            #expect(isOurs ? error == nil : error?.code == .incompatible && error?.message.contains(name) == true)
        }
    }

    @Test func buffersOfAnotherScheduleAreRefused() throws {
        let directory = try ScratchDirectory()
        let tiny = TinyVAR()
        let path = try tiny.write(directory)
        let levels = tiny.sides.enumerated().flatMap {
            Array(repeating: Float($0.offset), count: $0.element * $0.element)
        }
        let mask = levels.flatMap { own in levels.map { $0 <= own ? Float(0) : -.infinity } }
        func open(_ change: (inout [Float], inout [Float]) -> Void) throws -> DiffError? {
            var tensors = try tiny.tensors(tiny.shapes)
            var (a, b) = (levels, mask)
            change(&a, &b)
            tensors["lvl_1L"] = try Tensor(a, Shape(1, a.count))
            tensors["attn_bias_for_masking"] = try Tensor(b, Shape([1, 1, levels.count, levels.count]))
            try directory.write(tensors, as: "var/model.safetensors")
            return failure { _ = try Model(path) }
        }
        #expect(try open { _, _ in } == nil)
        #expect(try open { a, _ in a[1] = 0 }?.message.contains("lvl_1L") == true)
        #expect(try open { _, b in b[2] = 0 }?.message.contains("attn_bias_for_masking") == true)
    }

    @Test func aRefinerWithOtherCodesIsRefused() throws {
        let directory = try ScratchDirectory()
        var tiny = TinyVAR()
        let drafter = try Model(tiny.write(directory))
        (tiny.width, tiny.depth) = (16, 1)
        let plan = Plan([CollaborativePlan(draftScales: 2)])
        var options = SessionOptions()
        for (seed, isSame) in [(UInt64(1), true), (2, false)] {
            tiny.seed = seed
            options.partner = try Model(tiny.write(directory, as: "refiner\(seed)"))
            let error = failure { _ = try drafter.session(plan, options) }
            #expect(isSame ? error == nil : error?.code == .incompatible && error?.message.contains("VQ-VAE") == true)
        }
    }
}
