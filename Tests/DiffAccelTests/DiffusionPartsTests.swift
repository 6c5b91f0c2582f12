import DiffModels
import DiffSampling
import TestSupport
import Testing

@testable import DiffAccel

/// Parts of Stable Diffusion pipelines as models of their own, and beside others.
@Suite struct DiffusionPartsTests {
    @Test func aTransformerPredicts() throws {
        let (tiny, directory) = (TinyMMDiT(), try ScratchDirectory())
        let model = try Model(tiny.write(directory))
        #expect(model.familyName == "sd3_transformer" && model.layout.blocks.name == "transformer_blocks")
        #expect(model.forwardNames.outputs == ["out"] && model.family.sampling == nil)
        var numbers = Numbers(2)
        var inputs = NamedInputs()
        inputs.tensors = [
            "hidden_states": try numbers.tensor([2, 4, 4, 6]), "timestep": try Tensor([1000, 250.5], Shape(2)),
            "encoder_hidden_states": try numbers.tensor([2, 7, tiny.textWidth]),
            "pooled_projections": try numbers.tensor([2, tiny.pooledWidth]),
        ]
        let out = try #require(try model.forward(inputs)["out"])
        #expect(out.shape == (try Shape(2, 4, 4, 6)))
        #expect(try model.forwardShapes(inputs)["out"] == out.shape)
        inputs.tensors["pooled_projections"] = nil
        #expect(failure { _ = try model.forward(inputs) }?.message.contains("pooled_projections") == true)
        #expect(failure { _ = try model.session() } != nil)
    }

    @Test func aTinyAutoencoderIsAModelAndADecoder() throws {
        let directory = try ScratchDirectory()
        let path = try TinyTAESD().write(directory)
        let autoencoder = try Model(path)
        #expect(autoencoder.familyName == "autoencoder_tiny")
        var inputs = NamedInputs()
        var numbers = Numbers(3)
        inputs.tensors = ["latents": try numbers.tensor([1, 4, 8, 8]), "image": try numbers.tensor([1, 3, 8, 8])]
        #expect(try autoencoder.forward(inputs, wanted: ["image"])["image"]?.shape == (try Shape(1, 3, 32, 32)))
        #expect(try autoencoder.forward(inputs, wanted: ["latents"])["latents"]?.shape == (try Shape(1, 4, 2, 2)))

        let dit = TinyDiT()
        try directory.write(dit.config, as: "dit/config.json")
        try directory.write(dit.tensors(), as: "dit/model.safetensors")
        var options = ModelOptions()
        options.decoder = path
        let model = try Model("\(directory.path)/dit", options)
        guard case .object(let description) = model.description else { return }
        #expect(description["decoder"] == .string("autoencoder_tiny"))
        #expect(description["unknown_keys"] == .array([]))
        let result = try model.session().sample(request(steps: 2))
        let pixels = try #require(result.pixels)
        let decoded = try #require(
            result.latents.map { latents in
                var inputs = NamedInputs()
                inputs.tensors = ["latents": latents]
                return try autoencoder.forward(inputs, wanted: ["image"])["image"]
            } ?? nil)
        #expect(sameBits(pixels.array, decoded.array))
    }

    @Test func decodersThatCannotServeAreRefused() throws {
        let directory = try ScratchDirectory()
        let dit = TinyDiT()
        try directory.write(dit.config, as: "dit/config.json")
        try directory.write(dit.tensors(), as: "dit/model.safetensors")
        var wide = TinyTAESD()
        wide.latentChannels = 16
        var options = ModelOptions()
        options.decoder = try wide.write(directory, as: "wide")
        #expect(failure { _ = try Model("\(directory.path)/dit", options) }?.code == .incompatible)
        let tiny = TinyTAESD()
        try directory.write(tiny.config, as: "half/config.json")
        try directory.write(
            tiny.tensors().filter { $0.key.hasPrefix("encoder") }, as: "half/model.safetensors")
        options.decoder = "\(directory.path)/half"
        let error = try #require(failure { _ = try Model("\(directory.path)/dit", options) })
        #expect(error.code == .incompatible && error.message.contains("encoder"))
    }
}

/// Configs that say anything at all, over weights that are right: an error or a model, and nothing worse.
@Suite struct DiffusionConfigTests {
    private static let values: [JSON] = [
        .null, .integer(0), .integer(-1), .integer(1), .integer(3), .integer(7), .integer(64), .integer(8192),
        .integer(1 << 31),
        .integer(.max), .integer(.min), .number(0.5), .number(1e300), .number(-.infinity), .bool(true), .string("x"),
        .array([]), .array([.integer(1)]), .array([.integer(-1)]), .array(Array(repeating: .integer(64), count: 9)),
        .array([.integer(64), .integer(64), .integer(64)]), .array([.string("x")]), .object([:]),
    ]

    private func tryAll(_ config: JSON, _ tensors: [String: Tensor]) throws {
        let directory = try ScratchDirectory()
        try directory.write(tensors, as: "x.safetensors")
        guard case .object(let members) = config else { return }
        for key in members.keys {
            for value in Self.values {
                var changed = members
                changed[key] = value
                var options = ModelOptions()
                options.config = .object(changed)
                guard let error = failure({ _ = try Model("\(directory.path)/x.safetensors", options) }) else {
                    continue
                }
                #expect(error.code != .internal && !error.message.isEmpty, "\(key) \(value): \(error)")
            }
        }
    }

    @Test func transformers() throws {
        var tiny = TinyMMDiT()
        (tiny.normalisesHeads, tiny.dualAttention) = (true, [0])
        try tryAll(tiny.config, tiny.tensors())
        tiny.storesPositions = false
        try tryAll(tiny.config, tiny.tensors())
    }

    @Test func autoencoders() throws {
        try tryAll(TinyTAESD().config, TinyTAESD().tensors())
        guard case .object(var members) = TinyAutoencoder().config else { return }
        for key in ["latents_mean", "latents_std", "shift_factor"] { members[key] = .null }
        try tryAll(.object(members), TinyAutoencoder().tensors())
    }
}

/// `scheduler_config.json` of flow-matching models.
@Suite struct FlowMatchSettingsTests {
    private let published: [String: JSON] = [
        "_class_name": .string("FlowMatchEulerDiscreteScheduler"), "_diffusers_version": .string("0.42.1"),
        "base_image_seq_len": .integer(256), "base_shift": .number(0.5), "invert_sigmas": .bool(false),
        "max_image_seq_len": .integer(4096), "max_shift": .number(1.15), "num_train_timesteps": .integer(1000),
        "shift": .number(3), "shift_terminal": .null, "stochastic_sampling": .bool(false),
        "time_shift_type": .string("exponential"), "use_beta_sigmas": .bool(false),
        "use_dynamic_shifting": .bool(false), "use_exponential_sigmas": .bool(false), "use_karras_sigmas": .bool(false),
    ]

    private func object(_ changes: [String: JSON]) throws -> JSONObject {
        try JSONObject(.object(published.merging(changes) { $1 }), source: "scheduler_config.json")
    }

    private func read(_ changes: [String: JSON]) throws -> FlowMatchSettings { try FlowMatchSettings(object(changes)) }

    @Test func whatThePublishedFileSays() throws {
        let settings = try read([:])
        #expect(settings.method == .euler && settings.process == FlowMatchSettings.stableDiffusion3.process)
        #expect(try FlowMatchSettings.recognises(object([:])))
        #expect(try !FlowMatchSettings.recognises(object(["_class_name": .string("DDIMScheduler")])))
        // Everything in it is read or known.
        let recorded = try object([:]).recorded
        _ = try FlowMatchSettings(recorded)
        #expect(FlowMatchSettings.rules.unknown(in: recorded).isEmpty)
    }

    @Test func everySettingIsHonoured() throws {
        #expect(try read(["_class_name": .string("FlowMatchHeunDiscreteScheduler")]).method == .heun)
        #expect(try read(["shift": .number(1.5)]).process.shift == 1.5)
        #expect(try read(["num_train_timesteps": .integer(500)]).process.trainSteps == 500)
        #expect(try read(["shift_terminal": .number(0.1)]).process.terminal == 0.1)
        #expect(try read(["use_karras_sigmas": .bool(true)]).process.spread == .karras)
        #expect(try read(["use_exponential_sigmas": .bool(true)]).process.spread == .exponential)
        #expect(try read(["stochastic_sampling": .bool(true)]).process.isStochastic)
        let dynamic = try #require(
            try read(["use_dynamic_shifting": .bool(true), "time_shift_type": .string("linear")]).process.dynamicShift)
        #expect(dynamic.isLinear && dynamic.base == 0.5 && dynamic.mostTokens == 4096)
        // Left to the class that reads the file.
        #expect(try read(["_use_default_values": .array([.string("shift")])]).process.shift == 1)
    }

    @Test func anythingAtAllIsAnErrorOrSettings() throws {
        let values: [JSON] = [
            .integer(0), .integer(-1), .integer(.max), .number(1e300), .number(-.infinity), .string("x"), .array([]),
            .object([:]),
            .bool(true),
        ]
        for key in published.keys {
            for value in values {
                var changes: [String: JSON] = ["use_dynamic_shifting": .bool(true)]
                changes[key] = value
                let error = failure {
                    let settings = try read(changes)
                    for tokens in [0, 1, 4096, 1 << 40] {
                        let sampler = try settings.method.sampler(settings.process, steps: 3, tokens: tokens)
                        #expect(sampler.sigmas.count == 4 && sampler.sigmas.allSatisfy { $0 >= 0 && $0 <= 1 })
                    }
                }
                #expect(error?.code != .internal, "\(key) \(value)")
            }
        }
    }

    @Test(arguments: [
        (["invert_sigmas": JSON.bool(true)], "invert_sigmas", DiffError.Code.unsupported),
        (["use_beta_sigmas": .bool(true)], "use_beta_sigmas", .unsupported),
        (["_class_name": .string("EulerDiscreteScheduler")], "FlowMatchEulerDiscreteScheduler", .unsupported),
        (["shift": .number(0)], "shift", .format), (["shift_terminal": .number(1)], "shift_terminal", .format),
        (["time_shift_type": .string("cosine"), "use_dynamic_shifting": .bool(true)], "time_shift_type", .format),
        (["max_image_seq_len": .integer(256), "use_dynamic_shifting": .bool(true)], "max_image_seq_len", .format),
        (["use_karras_sigmas": .bool(true), "use_exponential_sigmas": .bool(true)], "use_exponential_sigmas", .format),
    ])
    func whatCannotBeIsRefusedByName(_ changes: [String: JSON], _ name: String, _ code: DiffError.Code) throws {
        let error = try #require(failure { _ = try read(changes) })
        #expect(error.code == code && error.message.contains(name))
    }
}
