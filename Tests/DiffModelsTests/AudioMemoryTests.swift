import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// AudioLDM2 base in its real sizes, without weights: what sounds of some lengths take beside them.
@Suite struct AudioMemoryTests {
    private func weights(_ shapes: [String: [Int]], _ directory: ScratchDirectory) throws -> Weights {
        let path = "\(directory.path)/weights.safetensors"
        try VirtualCheckpoint.write(shapes, to: path)
        return Weights(try TensorTable(FileBytes(path: path)), options: .init(dryRun: true))
    }

    private func virtual(_ dims: Int...) throws -> Tensor {
        let shape = try Shape(dims)
        return try Tensor(Storage(virtual: 4 * shape.count), shape)
    }

    private static let gigabyte = 1 << 30

    /// 25 latents a second of 16 frequencies, four frames each of 64 bins.
    @Test(arguments: [(80.0, 4), (600.0, 8)])
    func theDecoderStaysWithinItsBound(_ seconds: Double, _ bound: Int) throws {
        var tiny = TinyAutoencoder()
        (tiny.levels, tiny.layers, tiny.groups, tiny.latentChannels, tiny.channels) = ([128, 256, 512], 2, 32, 8, 1)
        let directory = try ScratchDirectory()
        let autoencoder = try Autoencoder(
            AutoencoderConfiguration(JSONObject(tiny.config, source: "config.json")), weights(tiny.shapes, directory))
        let run = Run(dryOn: 2)
        let latents = Int(seconds * 25)
        let mel = try autoencoder.decode(virtual(1, 8, latents, 16), run)
        #expect(mel.shape == (try Shape(1, 1, 4 * latents, 64)))
        #expect(run.workspace.peakBytes < bound * Self.gigabyte, "\(run.workspace.peakBytes >> 20) MiB")
        // No sound is made with the encoder, whose planes are made at once: 8.1 GiB for ten minutes.
        let back = Run(dryOn: 2)
        _ = try autoencoder.encode(virtual(1, 1, 4 * latents, 64), back)
        #expect(back.workspace.peakBytes < 9 * Self.gigabyte, "\(back.workspace.peakBytes >> 20) MiB")
    }

    @Test(arguments: [(80.0, 4), (600.0, 8)])
    func theNetworkStaysWithinItsBound(_ seconds: Double, _ bound: Int) throws {
        var tiny = TinyUNet()
        (tiny.channels, tiny.groups, tiny.heads, tiny.layers) = ([128, 256, 384, 640], 32, 8, 2)
        (tiny.inChannels, tiny.outChannels, tiny.stacks, tiny.projectsByConvolution) = (8, 8, [nil, 768, 1024], true)
        // The finest level has no attention, the coarsest has: the other way round than in Stable Diffusion.
        tiny.plainLevel = 0
        let directory = try ScratchDirectory()
        let network = try UNet(
            UNetConfiguration(JSONObject(tiny.config(), source: "config.json")), weights(tiny.shapes, directory))
        #expect(network.layout.blockCount == 3 * (3 * 2 + 1 + 3 * 3))
        // Both halves of guidance in one batch.
        let latents = Int(seconds * 25)
        var told = Conditioning(states: try virtual(2, 8, 768))
        (told.secondStates, told.secondMask) = (try virtual(2, 128, 1024), try virtual(2, 128))
        let run = Run(dryOn: 2)
        let prepared = try network.prepare(told, run)
        _ = try network(virtual(2, 8, latents, 16), t: virtual(2), prepared, run)
        #expect(run.workspace.peakBytes < bound * Self.gigabyte, "\(run.workspace.peakBytes >> 20) MiB")
    }

    @Test func theVocoderTakesLittle() throws {
        var tiny = TinyVocoder()
        (tiny.bins, tiny.channels, tiny.rates, tiny.kernels) = (64, 1024, [5, 4, 2, 2, 2], [16, 16, 8, 4, 4])
        (tiny.residualKernels, tiny.dilations) = ([3, 7, 11], [[1, 3, 5], [1, 3, 5], [1, 3, 5]])
        let directory = try ScratchDirectory()
        let vocoder = try Vocoder(
            VocoderConfiguration(JSONObject(tiny.config, source: "config.json")), weights(tiny.shapes, directory))
        #expect(vocoder.configuration.samples(frames: 1000) == 160_032)
        let run = Run(dryOn: 2)
        try vocoder.stream(virtual(1, 60_000, 64), limit: 9_600_000, run) { (_, _) throws(DiffError) in }
        #expect(run.workspace.peakBytes < Self.gigabyte / 2, "\(run.workspace.peakBytes >> 20) MiB")
    }
}
