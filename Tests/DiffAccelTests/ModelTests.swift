import DiffAccel
import DiffCheckpoint
import DiffModels
import Foundation
import TestSupport
import Testing

@Suite struct ModelTests {
    private func bits(_ model: Model, _ request: SampleRequest = request()) throws -> [Float] {
        var options = SessionOptions()
        options.threads = 1
        return try model.session(Plan(), options).sample(request).state
    }

    // MARK: Where checkpoints are

    @Test func shardsAreOneModel() throws {
        let tiny = try Tiny()
        let tensors = try tiny.dit.tensors()
        let directory = try ScratchDirectory()
        var (parts, map): ([[String: Tensor]], [String: JSON]) = ([[:], [:], [:]], [:])
        for (index, name) in tensors.keys.sorted().enumerated() {
            parts[index % 3][name] = tensors[name]
            map[name] = .string("model-0000\(index % 3 + 1)-of-00003.safetensors")
        }
        for (index, part) in parts.enumerated() {
            try directory.write(part, as: "model-0000\(index + 1)-of-00003.safetensors")
        }
        try directory.write(.object(["weight_map": .object(map)]), as: "model.safetensors.index.json")
        try directory.write(tiny.dit.config, as: "config.json")
        #expect(try sameBits(bits(Model(directory.path)), bits(tiny.model)))
        try FileManager.default.removeItem(atPath: "\(directory.path)/model-00002-of-00003.safetensors")
        #expect(failure { _ = try Model(directory.path) }?.code == .io)
    }

    @Test func aFileOpensWithItsConfigInTheOptions() throws {
        let tiny = try Tiny()
        let file = "\(tiny.path)/model.safetensors"
        #expect(failure { _ = try Model(file) }?.code == .format)
        var options = ModelOptions()
        options.config = tiny.dit.config
        #expect(try sameBits(bits(Model(file, options)), bits(tiny.model)))
    }

    @Test func aPipelineFolderGivesImages() throws {
        let dit = TinyDiT()
        let directory = try ScratchDirectory()
        try directory.write(.object(["_class_name": .string("DiTPipeline")]), as: "model_index.json")
        try directory.write(dit.diffusersConfig, as: "transformer/config.json")
        try directory.write(
            dit.diffusersTensors(dit.tensors()), as: "transformer/diffusion_pytorch_model.safetensors")
        try TinyAutoencoder().write(directory, as: "vae")
        for conventions in DiTConventions.allCases {
            var options = ModelOptions()
            options.conventions = conventions.rawValue
            let model = try Model(directory.path, options)
            #expect(model.familyName == "dit")
            let result = try model.session().sample(request([0, 1, 2]))
            let images = try #require(result.images)
            #expect(images.count == 3 && images.height == 16 && images.width == 16 && images.channels == 3)
            #expect(images.byteCount == 3 * 16 * 16 * 3 && result.pixels?.shape.dims == [3, 3, 16, 16])
            let pixels = try #require(result.pixels).array
            images.withBytes { bytes in
                for (index, value) in pixels.enumerated() {
                    let (n, c, at) = (index / 768, index / 256 % 3, index % 256)
                    let expected = (min(max(value * 127.5 + 127.5, 0), 255)).rounded(.toNearestOrEven)
                    #expect(abs(Float(bytes[(n * 256 + at) * 3 + c]) - expected) <= 1)
                }
            }
            // diffusers: leading timesteps and guidance of all channels; official: even spacing, ends included.
            #expect(result.statistics.steps.first?.timestep == (conventions == .diffusers ? 750 : 999))
        }
    }

    @Test func theDecoderMayComeFromAnotherFolder() throws {
        let tiny = try Tiny()
        let decoder = try TinyAutoencoder().write(tiny.directory, as: "elsewhere")
        #expect(try tiny.model.session().sample(request()).images == nil)
        var options = ModelOptions()
        options.decoder = decoder
        let model = try Model(tiny.path, options)
        let result = try model.session().sample(request())
        #expect(result.images?.count == 2)
        var undecoded = request()
        undecoded["decode"] = false
        let latents = try model.session().sample(undecoded)
        #expect(latents.images == nil && latents.pixels == nil && sameBits(latents.state, result.state))
    }

    @Test func aDecoderForOtherLatentsIsRefused() throws {
        var autoencoder = TinyAutoencoder()
        autoencoder.latentChannels = 8
        #expect(failure { _ = try Tiny(decoder: autoencoder) }?.code == .incompatible)
    }

    @Test func aPixelModelGivesImagesWithoutDecoder() throws {
        let directory = try ScratchDirectory()
        var dit = TinyDiT()
        dit.inChannels = 3
        guard case .object(var members) = dit.config else { return }
        members["output"] = .object(["kind": .string("pixels")])
        try directory.write(.object(members), as: "config.json")
        try directory.write(dit.tensors(), as: "model.safetensors")
        let result = try Model(directory.path).session().sample(request())
        let images = try #require(result.images)
        #expect(images.width == 8 && images.channels == 3 && images.count == 2)
        #expect(result.pixels.map { sameBits($0.array, result.state) } == true)
    }

    @Test func thingsThatAreNoCheckpointAreNamed() throws {
        let directory = try ScratchDirectory()
        #expect(failure { _ = try Model("\(directory.path)/nothing") }?.code == .io)
        #expect(failure { _ = try Model(directory.path) }?.code == .io)
        try directory.write(["x": Tensor([1], Shape(1))], as: "model.safetensors")
        #expect(failure { _ = try Model(directory.path) }?.code == .format)
        try directory.write(.object(["family": .string("lstm")]), as: "config.json")
        let error = failure { _ = try Model(directory.path) }
        #expect(
            error?.code == .unsupported && error?.message.contains("lstm") == true
                && error?.message.contains("dit") == true)
        try directory.write(.object(["_class_name": .string("UNet2DModel")]), as: "config.json")
        #expect(failure { _ = try Model(directory.path) }?.code == .unsupported)
        try directory.write(TinyDiT().config, as: "config.json")
        let missing = failure { _ = try Model(directory.path) }
        #expect(missing?.code == .incompatible && missing?.message.contains(directory.path) == true)
    }

    // MARK: Memory of weights

    @Test func weightsStayInTheirElementType() throws {
        let dit = TinyDiT()
        let directory = try ScratchDirectory()
        var narrow: [String: Tensor] = [:]
        for (name, tensor) in try dit.tensors() { narrow[name] = try tensor.narrowed(.f16) }
        try directory.write(dit.config, as: "config.json")
        try directory.write(narrow, as: "model.safetensors")
        let model = try Model(directory.path)
        var options = ModelOptions()
        options.weights = .f32
        let wide = try Model(directory.path, options)
        #expect(Double(model.bytes) < 0.6 * Double(wide.bytes))
        // The same values; the order of sums may differ between the kernels.
        #expect(try Difference(bits(model), bits(wide)).relative < 1e-4)
        options.weights = .stored
        // Weights are packed while their row-major form is still there: the largest one, 4 · 24 · 24 halves, needs room.
        options.memoryLimit = model.bytes + 2 * 4 * 24 * 24
        #expect(try Model(directory.path, options).bytes == model.bytes)
        options.memoryLimit = model.bytes - 1
        #expect(failure { _ = try Model(directory.path, options) }?.code == .overBudget)
    }

    @Test func aModelOutlivesItsSessionsAndTheReverse() throws {
        var tiny: Tiny? = try Tiny()
        let session = try #require(try tiny?.session())
        let expected = try session.sample(request()).state
        tiny = nil
        #expect(try sameBits(session.sample(request()).state, expected))
    }

    @Test func sessionsOfOneModelRunAtOnce() throws {
        let tiny = try Tiny()
        let expected = try tiny.session().sample(request(steps: 10)).state
        let model = tiny.model
        nonisolated(unsafe) var results: [[Float]] = Array(repeating: [], count: 4)
        let lock = NSLock()
        DispatchQueue.concurrentPerform(iterations: 4) { index in
            var options = SessionOptions()
            options.threads = 1 + index % 2
            let bits = try? model.session(Plan(), options).sample(request(steps: 10)).state
            lock.withLock { results[index] = bits ?? [] }
        }
        for result in results { #expect(sameBits(result, expected)) }
    }

    // MARK: One evaluation

    @Test func theRawNetworkIsReachedByNames() throws {
        let tiny = try Tiny()
        var inputs = NamedInputs()
        inputs.tensors = ["x": try tiny.noise(2), "t": try Tensor([3, 700], Shape(2))]
        inputs.integers = ["y": [0, 5]]
        let out = try #require(try tiny.model.forward(inputs, threads: 1)["out"])
        #expect(out.shape.dims == [2, 8, 8, 8] && out.array.allSatisfy { $0.isFinite })
        #expect(try tiny.model.forwardShapes(inputs)["out"] == out.shape)
        #expect(
            tiny.model.forwardNames.inputs.sorted() == ["t", "x", "y"] && tiny.model.forwardNames.outputs == ["out"])
        func code(_ change: (inout NamedInputs) throws -> Void, wanted: [String]? = nil) -> DiffError.Code? {
            failure {
                var changed = inputs
                try change(&changed)
                _ = try tiny.model.forward(changed, wanted: wanted, threads: 1)
            }?.code
        }
        #expect(code { $0.tensors["z"] = try Tensor([1], Shape(1)) } == .invalidArgument)
        #expect(code { $0.tensors["t"] = nil } == .invalidArgument)
        #expect(code { $0.integers["y"] = nil } == .invalidArgument)
        #expect(code { $0.integers["y"] = [0, 6] } == .invalidArgument)
        #expect(code { $0.integers["y"] = [0] } == .shape)
        #expect(code { $0.tensors["x"] = try Tensor([], Shape(0, 4, 8, 8)) } == .shape)
        #expect(code({ _ in }, wanted: ["latents"]) == .invalidArgument)
        #expect(failure { _ = try tiny.model.forward(inputs, threads: 1, memoryLimit: 1000) }?.code == .overBudget)
        #expect(failure { _ = try tiny.model.forward(inputs, threads: 1000) }?.code == .invalidArgument)
    }

    @Test func anAutoencoderEncodesAndDecodesButDoesNotSample() throws {
        let directory = try ScratchDirectory()
        let model = try Model(TinyAutoencoder().write(directory))
        #expect(model.familyName == "autoencoder_kl")
        #expect(failure { _ = try model.session() }?.code == .unsupported)
        #expect(failure { _ = try model.preview(Plan(), steps: 3) }?.code == .unsupported)
        var numbers = Numbers(4)
        var inputs = NamedInputs()
        inputs.tensors = ["latents": try numbers.tensor([2, 4, 3, 5]), "image": try numbers.tensor([1, 3, 6, 4])]
        let out = try model.forward(inputs, wanted: ["image", "moments"])
        #expect(out["image"]?.shape.dims == [2, 3, 6, 10] && out["moments"]?.shape.dims == [1, 8, 3, 2])
        #expect(try model.forwardShapes(inputs, wanted: ["moments"])["moments"] == out["moments"]?.shape)
    }

    // MARK: Descriptions

    @Test func aModelDescribesItself() throws {
        let tiny = try Tiny(decoder: TinyAutoencoder())
        let json = try JSONObject(tiny.model.description, source: "description")
        #expect(try json.string("family") == "dit" && json.string("decoder") == "autoencoder_kl")
        #expect(try json.strings("sites") == ["blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp"])
        #expect(try json.integer("blocks", in: 0...100) == 2 && json.integer("null_class", in: 0...100) == 5)
        let parameters = tiny.dit.shapes.values.reduce(0) { $0 + $1.reduce(1, *) }
        #expect(try json.integer("parameters", in: 0...Int.max) == parameters)
        #expect(try json.number("flops", in: 1...1e12) > 0)
        let library = try JSONObject(Library.description, source: "library")
        #expect(try library.strings("families").contains("dit") && library.strings("methods") == Plan.methodNames)
        #expect(try library.string("version") == Library.version)
    }

    @Test func plansAreSavedAndLoaded() throws {
        let tiny = try Tiny()
        let plan = try cached(.learned(tiny.router(steps: 4)))
        let file = try tiny.directory.file("plan.json")
        try plan.save(to: file)
        let loaded = try Plan(contentsOf: file)
        #expect(loaded.json == plan.json)
        #expect(
            try sameBits(
                tiny.session(loaded).sample(request()).state, tiny.session(plan).sample(request()).state
            ))
        let router = try tiny.router(steps: 4)
        let rows = router.logits.map { JSON.array($0.map { .number(Double($0)) }) }
        try tiny.directory.write(.object(["logits": .array(rows), "threshold": .number(0.5)]), as: "router.json")
        try tiny.directory.write(
            .object(["method": .string("l2c"), "router": .string("router.json")]), as: "beside.json")
        #expect(try Plan(contentsOf: "\(tiny.directory.path)/beside.json").json == plan.json)
        for name in ["../router.json", "/etc/passwd", "missing.json", ""] {
            try tiny.directory.write(.object(["method": .string("l2c"), "router": .string(name)]), as: "bad.json")
            #expect(failure { _ = try Plan(contentsOf: "\(tiny.directory.path)/bad.json") } != nil, "\(name)")
        }
    }
}
