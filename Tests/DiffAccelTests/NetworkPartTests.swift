import DiffAccel
import TestSupport
import Testing

/// Models of which a rank loads the part that it computes.
@Suite struct NetworkPartTests {
    private func inputs(_ unet: TinyUNet) throws -> NamedInputs {
        var (numbers, inputs) = (Numbers(3), NamedInputs())
        inputs.tensors["sample"] = try numbers.tensor([1, unet.inChannels, unet.side, unet.side])
        inputs.tensors["encoder_hidden_states"] = try numbers.tensor([1, 5, unet.textWidth])
        inputs.tensors["timestep"] = try Tensor([10], Shape(1))
        return inputs
    }

    @Test func matricesOfOtherComponentsTakeNoMemory() throws {
        let directory = try ScratchDirectory()
        let unet = TinyUNet()
        for path in [try unet.write(directory, as: "unet"), try unet.writePipeline(directory)] {
            let whole = try Model(path)
            var options = ModelOptions()
            options.networkPart = WeightsPart(without: ["up_blocks", "mid_block"])
            let part = try Model(path, options)
            #expect(part.bytes < whole.bytes * 3 / 4 && part.bytes > 0)
            #expect(part.layout == whole.layout)
            _ = try whole.forward(inputs(unet))
            let error = try #require(failure { _ = try part.forward(inputs(unet)) })
            #expect(error.code == .internal && error.message.contains("was not loaded: another rank computes it"))
        }
    }

    @Test func nothingLeftOutIsTheModel() throws {
        let directory = try ScratchDirectory()
        let unet = TinyUNet()
        let path = try unet.write(directory, as: "unet")
        var options = ModelOptions()
        options.networkPart = WeightsPart(without: [])
        let (whole, part) = (try Model(path), try Model(path, options))
        #expect(part.bytes == whole.bytes)
        #expect(try part.forward(inputs(unet))["out"]?.array == whole.forward(inputs(unet))["out"]?.array)
    }
}
