import DiffAccel
import DiffCheckpoint
import DiffModels
import TestSupport
import Testing

/// What a caller receives is looked at: the error names the stage where NaN or infinity arose.
@Suite struct NotFiniteTests {
    private let directory: ScratchDirectory

    init() throws { directory = try ScratchDirectory() }

    /// `tensors` with one element of the tensor `name` in place of which there is `value`.
    private func broken(_ tensors: [String: Tensor], _ name: String, _ value: Float = .nan) throws -> [String: Tensor] {
        var tensors = tensors
        let tensor = try #require(tensors[name])
        var values = tensor.array
        values[values.count / 2] = value
        tensors[name] = try Tensor(values, tensor.shape)
        return tensors
    }

    /// The error is `notFinite` and names all of these.
    private func expect(
        _ error: DiffError?, _ parts: String..., place: SourceLocation = #_sourceLocation
    ) {
        #expect(error?.code == .notFinite, "\(String(describing: error))", sourceLocation: place)
        for part in parts {
            #expect(error?.message.contains(part) == true, "\(String(describing: error))", sourceLocation: place)
        }
    }

    // MARK: Images

    @Test(arguments: [Float.nan, .infinity]) func aDecodersWeights(_ value: Float) throws {
        let dit = TinyDiT()
        let autoencoder = TinyAutoencoder()
        try dit.write(directory)
        try autoencoder.write(directory, as: "model/vae")
        try directory.write(
            broken(autoencoder.tensors(), "decoder.conv_out.bias", value),
            as: "model/vae/diffusion_pytorch_model.safetensors")
        let session = try Model("\(directory.path)/model").session()
        expect(failure { _ = try session.sample(request()) }, "decoder", "picture 1 of 2")
        var tiled = request()
        tiled["tile"] = 8
        expect(failure { _ = try session.sample(tiled) }, "decoder")
        var latents = request()
        latents["decode"] = false
        #expect(failure { _ = try session.sample(latents) } == nil, "latents are whole")
        #expect(session.bytesHeld == 0)
    }

    @Test func aNetworksWeightsNameTheStep() throws {
        let dit = TinyDiT()
        try dit.write(directory)
        try directory.write(broken(dit.tensors(), "blocks.1.mlp.fc1.bias"), as: "model/model.safetensors")
        let session = try Model("\(directory.path)/model").session()
        var events = 0
        let error = failure {
            _ = try session.sample(request()) { _ in
                events += 1
                return .continue
            }
        }
        expect(error, "network", "step 1 of 4")
        #expect(events == 0, "nobody sees a broken state")
    }

    @Test func picturesOfScales() throws {
        let tiny = TinyVAR()
        let path = try tiny.write(directory)
        try directory.write(
            broken(tiny.tensors(tiny.codeShapes), "decoder.conv_out.bias"), as: "var/vae/model.safetensors")
        let session = try Model(path).session()
        expect(failure { _ = try session.sample(scaleRequest()) }, "decoder")
        var previews = scaleRequest()
        (previews["previews"], previews["decode"]) = (true, false)
        expect(failure { _ = try session.sample(previews) }, "decoder")
        let table = [Float](repeating: .nan, count: 24 * 4)
        var tensors = try tiny.tensors(tiny.codeShapes)
        tensors["quantize.embedding.weight"] = try Tensor(table, Shape(24, 4))
        try directory.write(tensors, as: "var/vae/model.safetensors")
        expect(failure { _ = try Model(path).session().sample(scaleRequest()) }, "code space", "step 1")
        try directory.write(broken(tiny.tensors(tiny.shapes), "head.bias"), as: "var/model.safetensors")
        expect(failure { _ = try Model(path).session().sample(scaleRequest()) }, "logits", "scale 0")
    }

    // MARK: One evaluation

    @Test func outputsOfARawForward() throws {
        let autoencoder = TinyAutoencoder()
        var numbers = Numbers(4)
        var inputs = NamedInputs()
        inputs.tensors = ["latents": try numbers.tensor([1, 4, 3, 5]), "image": try numbers.tensor([1, 3, 6, 4])]
        let places = [
            ("decoder.conv_out.bias", "image"), ("encoder.conv_out.bias", "moments"), ("quant_conv.bias", "moments"),
        ]
        for (tensor, output) in places {
            let path = try autoencoder.write(directory, as: "vae")
            try directory.write(
                broken(autoencoder.tensors(), tensor), as: "vae/diffusion_pytorch_model.safetensors")
            let model = try Model(path)
            let error = failure { _ = try model.forward(inputs, wanted: [output]) }
            expect(error, output == "image" ? "\"image\"" : "encoder")
        }
        let dit = TinyDiT()
        let model = try Model(dit.write(directory))
        inputs = NamedInputs()
        let nowhere = try Tensor([Float](repeating: .nan, count: 256), Shape(1, 4, 8, 8))
        inputs.tensors = ["x": nowhere, "t": try Tensor([1], Shape(1))]
        inputs.integers = ["y": [0]]
        expect(failure { _ = try model.forward(inputs) }, "\"out\"")
        #expect(try model.forwardShapes(inputs)["out"] == Shape(1, 8, 8, 8))
    }

    @Test func tokensOfPictures() throws {
        let tiny = TinyVAR()
        let path = try tiny.write(directory)
        var numbers = Numbers(9)
        var inputs = NamedInputs()
        inputs.tensors = ["image": try numbers.tensor([1, 3, 4, 4])]
        try directory.write(
            broken(tiny.tensors(tiny.codeShapes), "encoder.conv_out.bias"), as: "var/vae/model.safetensors")
        let model = try Model("\(path)/vae")
        for output in ["tokens", "image", "state"] {
            expect(failure { _ = try model.forward(inputs, wanted: [output]) }, "encoder")
        }
        var known = scaleRequest()
        known.tensors["image"] = .floats(try numbers.tensor([2, 3, 4, 4]))
        known.tensors["mask"] = .floats(try Tensor([Float](repeating: 1, count: 8), Shape(2, 2, 2)))
        expect(failure { _ = try Model(path).session().sample(known) }, "encoder")
    }

    // MARK: Texts

    @Test(arguments: [false, true]) func tokensOfTexts(_ isDream: Bool) throws {
        var tiny = TinyLanguageModel()
        tiny.isDream = isDream
        let path = try tiny.write(to: directory)
        let name = isDream ? "model.layers.1.mlp.down_proj.weight" : "model.transformer.blocks.1.ff_out.weight"
        try directory.write(broken(tiny.tensors(), name), as: "model/model.safetensors")
        let model = try Model(path)
        var text = SampleRequest(["tokens": [[3, 4]]])
        text["length"] = 4
        let asked = text
        expect(failure { _ = try model.session().sample(asked) }, "logits", "pass 1 of 4")
        var inputs = NamedInputs()
        inputs.integers = ["tokens": [3, 4]]
        expect(failure { _ = try model.forward(inputs) }, "\"logits\"")
    }

    // MARK: Learning

    @Test(arguments: ["finetune", "router", "change", "similarity", "sensitivity"])
    func whatIsLearned(_ method: String) throws {
        let dit = TinyDiT()
        let path = try dit.write(directory)
        try directory.write(broken(dit.tensors(), "blocks.1.mlp.fc1.bias"), as: "model/model.safetensors")
        var numbers = Numbers(3)
        try directory.write(["latents": numbers.tensor([8, 4, 8, 8])], as: "x.safetensors")
        let labels = try directory.write(integers: [0, 1, 2, 3, 4, 0, 1, 2], [8], as: "y.npy")
        var settings: [String: JSON] = [
            "data": .object(["latents": .string("\(directory.path)/x.safetensors"), "labels": .string(labels)]),
            "steps": .integer(3), "batch": .integer(4), "method": .string(method),
        ]
        switch method {
        case "finetune": break
        case "router": settings["sampling_steps"] = .integer(4)
        default:
            settings["method"] = .string("prune")
            (settings["rule"], settings["keep_count"]) = (.string(method), .integer(1))
        }
        let trainer = try Trainer(path, .object(settings))
        expect(failure { try trainer.run() }, "weights or data")
        #expect(trainer.step == 0, "the trainer stands where it stood")
        expect(failure { _ = try trainer.evaluate(batches: 1) })
    }
}
