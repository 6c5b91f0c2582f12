import DiffCheckpoint
import DiffTensor
import TestSupport
import Testing

@testable import DiffModels

/// Files in the original layout against what diffusers' own converters make of them (`Tools/fixtures/original_layout.py`).
@Suite struct SingleFileTests {
    static let names = [
        "sd1", "sd1_inpaint", "lcm", "unet_alone", "sd2", "sdxl", "sd3", "sd35", "vae_alone",
    ]

    @Test(arguments: names) func isTakenApartAsByDiffusers(_ name: String) throws {
        let layout = try OriginalLayout(name)
        let file = try #require(try SingleFile.recognise(layout.table))
        #expect(file.kind.rawValue == layout.kind)
        #expect(file.partNames == layout.configs.keys.sorted())
        #expect(file.ignored == layout.ignored.sorted())
        for (part, config) in layout.configs {
            let found = try #require(file.part(part))
            guard case .object(let mine) = found.config, case .object(let theirs) = config else {
                Issue.record("\(part): no objects")
                continue
            }
            for (key, value) in theirs where mine[key] != nil { #expect(same(mine[key], value), "\(part).\(key)") }
            let expected = layout.tensors.filter { $0.part == part }
            #expect(found.tensors.names == expected.map(\.name).sorted())
            for tensor in expected {
                let loaded = try found.tensors.load(tensor.name)
                #expect(try loaded.array == layout.values(tensor), "\(part): \(tensor.name)")
            }
        }
        for (key, value) in layout.scheduler {
            guard case .object(let mine)? = file.scheduler else { continue }
            #expect(same(mine[key], value), "scheduler.\(key)")
        }
        #expect((file.scheduler == nil) == (file.kind == .autoencoder))
    }

    /// Numbers and integers of equal value are the same in a configuration.
    private func same(_ a: JSON?, _ b: JSON) -> Bool {
        switch (a, b) {
        case (.integer(let x)?, .number(let y)), (.number(let y)?, .integer(let x)): return Double(x) == y
        case (.array(let x)?, .array(let y)): return x.count == y.count && zip(x, y).allSatisfy { same($0, $1) }
        default: return a == b
        }
    }

    @Test func missingAndUnusedTensorsHaveTheFilesNames() throws {
        let layout = try OriginalLayout("sd2")
        let file = try #require(try SingleFile.recognise(layout.table))
        let weights = Weights(try #require(file.part("text_encoder")).tensors)
        _ = try weights.tensor("text_model.encoder.layers.0.self_attn.q_proj.weight", [64, 64])
        _ = try weights.tensor("text_model.encoder.layers.7.self_attn.q_proj.weight", [64, 64])
        _ = try weights.tensor("text_model.encoder.layers.1.layer_norm1.weight", [65])
        weights.markUsed { $0.contains("mlp") || $0.contains("layers.1") || $0.contains("layer_norm") }
        let found = try #require(error { () throws(DiffError) in try weights.finish() })
        #expect(
            found.message.contains(
                "wrongly shaped: cond_stage_model.model.transformer.resblocks.1.ln_1.weight is [64], expected [65]"))
        #expect(found.message.contains("\nmissing: text_model.encoder.layers.7.self_attn.q_proj.weight"))
        #expect(
            found.message.contains(
                "unused: cond_stage_model.model.positional_embedding, cond_stage_model.model.token_embedding.weight, "
                    + "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias, "
                    + "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"))
        // One that a network of this depth has, under the name that is looked for.
        let network = Weights(try #require(file.part("unet")).tensors)
        #expect(
            network.table.sourceName("down_blocks.0.resnets.0.norm1.weight").hasSuffix(
                "input_blocks.1.0.in_layers.0.weight"))
        #expect(
            network.table.sourceName("up_blocks.1.attentions.1.proj_in.weight").hasSuffix(
                "output_blocks.3.1.proj_in.weight"))
    }

    @Test func readsPartsOfPartsAndNarrowTypes() throws {
        let layout = try OriginalLayout("sd3", type: .bf16)
        let file = try #require(try SingleFile.recognise(layout.table))
        let tensors = try #require(file.part("transformer")).tensors
        let whole = try tensors.load("norm_out.linear.weight")
        #expect(whole.dtype == .bf16)
        let source = try layout.table.load("model.diffusion_model.final_layer.adaLN_modulation.1.weight")
        let (wide, stored) = (try whole.widened(budget: nil).array, try source.widened(budget: nil).array)
        #expect(wide == Array(stored[(stored.count / 2)...] + stored[..<(stored.count / 2)]))
        // Compared piece by piece with itself under another name.
        #expect(try tensors.holdsSame("norm_out.linear.weight", "norm_out.linear.weight"))
    }

    @Test func optionsReplaceWhatNoShapeTells() throws {
        let table = try OriginalLayout("sd2").table
        let given = SingleFile.Options(
            predictionType: "epsilon",
            config: ["unet": ["attention_head_dim": [4, 4]], "scheduler": ["steps_offset": 0]])
        let file = try #require(try SingleFile.recognise(table, given))
        guard case .object(let network)? = file.part("unet")?.config, case .object(let scheduler)? = file.scheduler
        else {
            Issue.record("no configurations")
            return
        }
        #expect(network["attention_head_dim"] == [4, 4] && network["norm_num_groups"] == 32)
        #expect(scheduler["prediction_type"] == "epsilon" && scheduler["steps_offset"] == 0)
        for (options, code) in [
            (SingleFile.Options(predictionType: "noise"), DiffError.Code.invalidArgument),
            (SingleFile.Options(config: ["text_encoder_2": [:]]), .format),
            (SingleFile.Options(config: ["unet": 3]), .format),
        ] {
            #expect(error { () throws(DiffError) in try SingleFile.recognise(table, options) }?.code == code)
        }
        let flow = try OriginalLayout("sd3").table
        #expect(
            error { () throws(DiffError) in try SingleFile.recognise(flow, .init(predictionType: "epsilon")) }?.code
                == .invalidArgument)
    }

    private func file(_ change: (inout [String: Tensor]) throws -> Void, of name: String = "sd1_inpaint") throws
        -> TensorTable
    {
        try OriginalLayout(name, changing: change).table
    }

    @Test func marksOfThePredictionAreHeard() throws {
        let one = try Tensor([1], Shape(1))
        let velocity = try file { $0["v_pred"] = one }
        let plain = try #require(try SingleFile.recognise(velocity)?.scheduler)
        #expect(plain == plain.setting("prediction_type", "v_prediction"))
        let whole = try file {
            $0["v_pred"] = one
            $0["ztsnr"] = one
        }
        let rescaled = try #require(try SingleFile.recognise(whole)?.scheduler)
        #expect(rescaled == rescaled.setting("rescale_betas_zero_snr", true).setting("timestep_spacing", "trailing"))
        let base = try file({ $0["global_step"] = try Tensor([875_000], Shape(1)) }, of: "sd2")
        let epsilon = try #require(try SingleFile.recognise(base)?.scheduler)
        #expect(epsilon == epsilon.setting("prediction_type", "epsilon"))
    }

    @Test func relativesAreRefusedByName() throws {
        let one = try Tensor([1], Shape(1))
        for (name, text) in [
            ("conditioner.embedders.0.model.token_embedding.weight", "the refiner"), ("control_model.x", "ControlNet"),
            ("edm_mean", "Playground"), ("model.diffusion_model.input_blocks.1.0.time_stack.x", "videos"),
        ] {
            let table = try file { $0[name] = one }
            let found = try #require(error { () throws(DiffError) in try SingleFile.recognise(table) })
            #expect(
                found.code == .unsupported && found.message.contains(text) && found.message.contains("take a release"))
        }
        let editing = try file {
            $0["model.diffusion_model.input_blocks.0.0.weight"] = try Tensor(
                [Float](repeating: 0, count: 32 * 8 * 9), Shape(32, 8, 3, 3))
        }
        #expect(
            error { () throws(DiffError) in try SingleFile.recognise(editing) }?.message.contains("InstructPix2Pix")
                == true)
        let other = try file({ $0 = $0.filter { !$0.key.contains("decoder") } }, of: "vae_alone")
        #expect(try SingleFile.recognise(other) == nil)
    }

    /// The networks find every tensor they need under the configuration read off the file, and no other.
    @Test(arguments: names) func everyNetworkLoads(_ name: String) throws {
        let file = try #require(try SingleFile.recognise(OriginalLayout(name).table))
        func parts(_ name: String) throws -> (config: JSONObject, weights: Weights)? {
            guard let part = file.part(name) else { return nil }
            return (try JSONObject(part.config, source: name), Weights(part.tensors))
        }
        if let vae = try parts("vae") {
            let autoencoder = try Autoencoder(AutoencoderConfiguration(vae.config), vae.weights)
            #expect(autoencoder.hasEncoder && autoencoder.configuration.levelChannels == [32, 64])
        }
        if let unet = try parts("unet") {
            let network = try UNet(UNetConfiguration(unet.config), unet.weights)
            #expect(network.channels == (name == "sd1_inpaint" ? 9 : 4) && network.predictedChannels == 4)
            #expect(network.takesSizes == (name == "sdxl") && network.takesGuidance == (name == "lcm"))
        }
        if let transformer = try parts("transformer") {
            let network = try MMDiT(MMDiTConfiguration(transformer.config), transformer.weights)
            #expect(network.channels == 16 && network.textWidth == 96 && network.pooledWidth == 128)
        }
    }

    private func error<T>(_ body: () throws(DiffError) -> T) -> DiffError? {
        do throws(DiffError) {
            _ = try body()
            return nil
        } catch { return error }
    }
}
