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

    @Test func aPartnerIsComputedAlike() throws {
        #expect(try settings("{\"convolution\": \"direct\"}").forPartner.settings.convolution == .direct)
    }
}
