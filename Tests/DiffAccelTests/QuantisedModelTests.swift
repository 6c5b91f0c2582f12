import DiffAccel
import TestSupport
import Testing

/// Models opened with int8 weights: near the others, smaller, and as independent of batch and threads.
@Suite struct QuantisedModelTests {
    private let directory: ScratchDirectory

    init() throws { directory = try ScratchDirectory() }

    private func options(_ type: WeightType, limit: Int = 0) -> ModelOptions {
        var options = ModelOptions()
        (options.weights, options.memoryLimit) = (type, limit)
        return options
    }

    private func language(_ isDream: Bool, isTied: Bool = false) throws -> String {
        var tiny = TinyLanguageModel()
        (tiny.isDream, tiny.isTied) = (isDream, isTied)
        return try tiny.write(to: directory, as: "m\(isDream)\(isTied)")
    }

    private func logits(_ model: Model, _ tokens: [Int]) throws -> [Float] {
        var inputs = NamedInputs()
        inputs.integers["tokens"] = tokens
        return try #require(try model.forward(inputs)["logits"]).array
    }

    /// Weights are off by up to 1/254 of their row's largest, at random: results by a few hundredths of the largest one.
    @Test(arguments: [false, true], [false, true])
    func logitsAreNear(_ isDream: Bool, _ isTied: Bool) throws {
        let path = try language(isDream, isTied: isTied)
        let tokens = [3, 7, 60, 60, 12, 0, 59]
        let (stored, int8) = (try Model(path), try Model(path, options(.int8)))
        let difference = try Difference(logits(int8, tokens), logits(stored, tokens))
        #expect(difference.relative > 0 && difference.relative < 0.05, "\(difference)")
        for (model, type) in [(int8, "int8"), (stored, "stored")] {
            #expect(try JSONObject(model.description, source: "description").string("weights") == type)
        }
    }

    /// An int8 model is the model of the rounded weights, computed in f32; only the order of scaling and adding differs.
    @Test func logitsAreThoseOfRoundedWeights() throws {
        let tiny = TinyLanguageModel()
        var tensors = try tiny.tensors()
        for (name, tensor) in tensors where tensor.shape.rank == 2 && !name.contains("wte") {
            let (values, width) = (tensor.array, tensor.shape[1])
            let rounded = values.indices.map { index in
                let start = index / width * width
                let scale = (values[start..<start + width].map(abs).max() ?? 0) / 127
                return (values[index] / scale).rounded(.toNearestOrEven) * scale
            }
            tensors[name] = try Tensor(rounded, tensor.shape)
        }
        try directory.write(tiny.config, as: "rounded/config.json")
        try directory.write(tensors, as: "rounded/model.safetensors")
        let tokens = Array(0...60)
        let int8 = try logits(Model(language(false), options(.int8)), tokens)
        #expect(try Difference(int8, logits(Model("\(directory.path)/rounded"), tokens)).relative < 2e-5)
    }

    @Test(arguments: [false, true])
    func aBatchIsItsPrompts(_ isDream: Bool) throws {
        let model = try Model(language(isDream), options(.int8))
        let prompts = [[3, 4, 5, 6, 7, 8, 9], [10], [], Array(1...40)]
        func tokens(_ prompts: [[Int]], threads: Int) throws -> [[Int]] {
            var text = SampleRequest(["tokens": prompts.json])
            text["length"] = 12
            let request = text
            var options = SessionOptions()
            options.threads = threads
            return try model.session(Plan([try KVCachePlan(.decode, refresh: 3)]), options).sample(request).tokens
        }
        let batch = try tokens(prompts, threads: 2)
        for (index, prompt) in prompts.enumerated() {
            #expect(try tokens([prompt], threads: 1)[0] == batch[index], "prompt \(index)")
        }
    }

    /// Matrices take a byte an element and four an output; what is left is as stored. The limit counts the largest one as stored too.
    @Test func memoryIsCounted() throws {
        let path = try language(false)
        let (stored, int8) = (try Model(path), try Model(path, options(.int8)))
        // 61 x 32 is padded to 64 outputs when packed.
        let perBlock = [(32, 32), (32, 32), (32, 32), (96, 32), (32, 48)]
        let matrices = perBlock + perBlock + [(64, 32)]
        let saved = matrices.reduce(0) { $0 + 3 * $1.0 * $1.1 - 4 * $1.0 } + 4 * (64 - 61)
        #expect(stored.bytes - int8.bytes == saved)
        let room = 4 * 96 * 32
        #expect(try Model(path, options(.int8, limit: int8.bytes + room)).bytes == int8.bytes)
        #expect(failure { _ = try Model(path, options(.int8, limit: int8.bytes - 1)) }?.code == .overBudget)
        let estimate = try int8.session().estimate(request())
        #expect(estimate.weights == int8.bytes)

        func request() -> SampleRequest {
            SampleRequest(["tokens": [[1, 2, 3]], "length": 8])
        }
    }

    /// Whatever a weight that is no number does to the stored model, it does to this one: the run ends with the same error.
    @Test func weightsThatAreNoNumbers() throws {
        var tiny = TinyDiT()
        tiny.depth = 2
        var tensors = try tiny.tensors()
        var values = try #require(tensors["blocks.0.mlp.fc1.weight"]).array
        values[5] = .infinity
        values[30] = .nan
        tensors["blocks.0.mlp.fc1.weight"] = try Tensor(values, #require(tensors["blocks.0.mlp.fc1.weight"]).shape)
        try directory.write(tiny.config, as: "dit/config.json")
        try directory.write(tensors, as: "dit/model.safetensors")
        let errors = try [WeightType.stored, .f32, .int8].map { type in
            let session = try Model("\(directory.path)/dit", options(type)).session()
            return failure { _ = try session.sample(DiffAccelTests.request()) }
        }
        #expect(errors.allSatisfy { $0 == errors[0] }, "\(errors)")
    }

    @Test func imagesAreNear() throws {
        let path = try TinyDiT().write(directory)
        let states = try [WeightType.stored, .int8].map { type in
            try Model(path, options(type)).session().sample(request()).state
        }
        let difference = Difference(states[1], states[0])
        #expect(difference.relative > 0 && difference.relative < 0.1, "\(difference)")
        let scales = try TinyVAR().write(directory)
        let model = try Model(scales, options(.int8))
        #expect(try model.session().sample(SampleRequest(["labels": [0, 3]])).images != nil)
        #expect(try model.bytes < Model(scales).bytes)
    }

    @Test func learningIsRefused() throws {
        let path = try TinyDiT().write(directory)
        let settings = JSON.object([
            "method": .string("router"), "trajectory": .string("own"), "steps": .integer(1),
            "sampling_steps": .integer(4),
        ])
        let refusal = failure { _ = try Trainer(path, settings, options(.int8)) }
        #expect(
            refusal?.code == .unsupported && refusal?.message.contains("int8") == true, "\(String(describing: refusal))"
        )
        #expect(failure { _ = try Trainer.estimate(path, settings, options(.int8)) }?.code == .unsupported)
        #expect(failure { _ = try Trainer(path, settings, options(.f32)) } == nil)
    }
}
