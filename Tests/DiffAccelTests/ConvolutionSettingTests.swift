import DiffAccel
import TestSupport
import Testing

/// The model setting `convolution`.
@Suite struct ConvolutionSettingTests {
    private func settings(_ text: String) throws -> ModelOptions {
        var options = ModelOptions()
        options.settings = try ModelSettings(JSON(parsing: text, source: "settings"))
        return options
    }

    @Test func theMethodIsASettingAndAFact() throws {
        let directory = try ScratchDirectory()
        let path = try TinyAutoencoder().write(directory)
        var numbers = Numbers(12)
        var inputs = NamedInputs()
        inputs.tensors["latents"] = try numbers.tensor([1, 4, 9, 10])
        var images: [String: [Float]] = [:]
        for name in ["auto", "direct", "winograd"] {
            let model = try Model(path, settings("{\"convolution\": \"\(name)\"}"))
            guard case .object(let facts) = model.description else { return }
            #expect(facts["convolution"] == .string(name))
            images[name] = try #require(try model.forward(inputs)["image"]).array
        }
        let (direct, transformed) = (try #require(images["direct"]), try #require(images["winograd"]))
        #expect(direct != transformed, "the setting changes nothing")
        let largest = direct.map(abs).max() ?? 0
        #expect(zip(direct, transformed).allSatisfy { abs($0 - $1) <= 2e-5 * largest })
        #expect(failure { _ = try settings("{\"convolution\": \"fft\"}") }?.message.contains("convolution") == true)
    }

    /// What a description says: every layer's form by its name and height, and the counts.
    private struct Told {
        var forms: [String: String] = [:], reasons: [String: String] = [:], counts: [String: Int] = [:]

        init(_ model: Model) throws {
            guard case .object(let facts) = model.description, case .object(let told)? = facts["convolutions"],
                case .array(let layers)? = told["layers"], case .object(let numbers)? = told["forms"]
            else { return }
            for case .object(let layer) in layers {
                guard case .string(let name)? = layer["name"], case .string(let form)? = layer["form"] else { continue }
                forms[name] = form
                if case .string(let reason)? = layer["because"] { reasons[name] = reason }
            }
            for case (let form, .integer(let count)) in numbers { counts[form] = count }
            #expect(counts.values.reduce(0, +) == layers.count)
        }
    }

    @Test func everyConvolutionOfAUNetTellsItsForm() throws {
        let directory = try ScratchDirectory()
        var tiny = TinyUNet()
        (tiny.side, tiny.projectsByConvolution) = (32, true)
        let path = try tiny.writePipeline(directory)
        let names = tiny.shapes.filter { $0.value.count == 4 }.map { String($0.key.dropLast(".weight".count)) }
        for setting in ["auto", "winograd", "direct"] {
            let told = try Told(Model(path, settings("{\"convolution\": \"\(setting)\"}")))
            // Each tensor of four axes is a convolution, but for projections, which are products.
            #expect(Set(told.forms.keys) == Set(names.filter { !$0.contains(".proj_") }))
            #expect(told.reasons["down_blocks.0.downsamplers.0.conv"] == "stride")
            #expect(told.reasons["down_blocks.1.resnets.0.conv_shortcut"] == "kernel")
            let usual = told.forms["down_blocks.0.resnets.0.conv1"]
            switch setting {
            case "direct":
                #expect(usual == "direct" && told.reasons["down_blocks.0.resnets.0.conv1"] == "setting")
                #expect(told.counts["F(2,3)"] == 0 && told.counts["F(4,3)"] == 0)
            default: #expect(usual == "F(4,3)" || setting == "auto")
            }
            if setting == "winograd" { #expect(!told.reasons.values.contains { $0 == "size" || $0 == "setting" }) }
        }
    }

    @Test func smallMapsAreDirectForTheirSize() throws {
        let directory = try ScratchDirectory()
        var tiny = TinyUNet()
        tiny.side = 2
        let told = try Told(Model(tiny.writePipeline(directory)))
        #expect(told.reasons["mid_block.resnets.0.conv1"] == "size")
    }

    /// Of any size, through the path for odd sizes too: what runs, real or dry, is what was chosen in one place.
    @Test(arguments: [(64, 64), (48, 40), (66, 58)]) func directMeansDirectEverywhere(size: (Int, Int)) throws {
        let directory = try ScratchDirectory()
        let tiny = TinyUNet()
        let path = try tiny.writePipeline(directory)
        let decoder = try TinyAutoencoder().write(directory, as: "vae")
        for setting in ["direct", "winograd"] {
            var options = try settings("{\"convolution\": \"\(setting)\"}")
            options.decoder = decoder
            let session = try Model(path, options).session()
            var numbers = Numbers(4)
            var request = SampleRequest([
                "steps": 2, "guidance": 1, "height": .integer(size.0), "width": .integer(size.1), "previews": "linear",
            ])
            request.tensors["prompt_embeds"] = .floats(try numbers.tensor([1, 5, tiny.textWidth]))
            request.tensors["image"] = .floats(try numbers.tensor([1, 3, size.0, size.1], scale: 0.3))
            let counts = try session.estimate(request).convolutions
            let transformed = (counts[.transformed2] ?? 0) + (counts[.transformed4] ?? 0)
            #expect((counts[.direct] ?? 0) > 0 && (transformed == 0) == (setting == "direct"), "\(counts)")
        }
    }

    @Test func partsTellTheirForms() throws {
        let directory = try ScratchDirectory()
        let autoencoder = try Told(Model(TinyAutoencoder().write(directory)))
        #expect(autoencoder.forms["decoder.conv_in"] != nil && autoencoder.forms["encoder.conv_in"] != nil)
        let tiny = try Told(Model(TinyTAESD().write(directory, as: "taesd"), settings("{\"convolution\": \"direct\"}")))
        #expect(!tiny.forms.isEmpty && Set(tiny.forms.values) == ["direct"])
        let none = try Told(Model(TinyMMDiT().write(directory, as: "mmdit")))
        #expect(none.forms.isEmpty && none.counts.isEmpty)
    }

    @Test func aPartnerIsComputedAlike() throws {
        #expect(try settings("{\"convolution\": \"direct\"}").forPartner.settings.convolution == .direct)
    }
}
