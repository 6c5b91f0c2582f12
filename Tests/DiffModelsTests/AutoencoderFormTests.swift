import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

/// Configurations of `AutoencoderKL`, against numbers of diffusers 0.42 with the same weights and inputs.
@Suite struct AutoencoderFormTests {
    private func load(_ tiny: TinyAutoencoder, _ members: [String: JSON]) throws -> Autoencoder {
        let directory = try ScratchDirectory()
        try directory.write(tiny.tensors(), as: "weights.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
        return try Autoencoder(configuration(tiny, members), Weights(table))
    }

    private func configuration(
        _ tiny: TinyAutoencoder, _ members: [String: JSON]
    ) throws -> AutoencoderConfiguration {
        guard case .object(let config) = tiny.config else { throw DiffError(.internal, "no object") }
        return try AutoencoderConfiguration(
            JSONObject(.object(config.merging(members) { _, new in new }), source: "config.json"))
    }

    private func run(_ autoencoder: Autoencoder) throws -> Run {
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try run.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
        return run
    }

    private func every(_ step: Int, of tensor: Tensor) -> [Float] {
        let values = tensor.array
        return stride(from: 0, to: values.count, by: step).map { values[$0] }
    }

    /// Stable Diffusion 3's: 16 channels, no convolutions around them, a shift; a size that is no multiple of anything.
    @Test(arguments: [true, false])
    func sixteenChannelsWithAShift(_ attends: Bool) throws {
        var tiny = TinyAutoencoder()
        (tiny.latentChannels, tiny.usesQuantConvolutions, tiny.attends) = (16, false, attends)
        let autoencoder = try load(tiny, ["scaling_factor": .number(1.5305), "shift_factor": .number(0.0609)])
        #expect((autoencoder.layout.site(named: "decoder.mid_block.attentions.0") != nil) == attends)
        var numbers = Numbers(8)
        let (latents, image) = (try numbers.tensor([1, 16, 3, 5]), try numbers.tensor([1, 3, 6, 10]))
        let noise = try numbers.tensor([1, 16, 3, 5])
        let (picture, mode, sample): ([Float], [Float], [Float]) =
            attends
            ? (
                [
                    0.0275210, -0.0910518, 0.8462178, -0.0890171, 0.0293968, -0.4969401, 0.4258284, 0.6551721,
                    0.3826914, -0.3244862, -0.7559570, 0.1465933, 0.1898115, 0.1965823,
                ],
                [
                    0.0271627, -0.5487354, -0.9509726, -1.3909829, 1.1214458, -0.0606057, 0.9197073, -0.2420809,
                    -0.0872223, 1.2622161, -0.5119647, -0.1297651, 0.0601428, 1.6331958, -0.6903460,
                ],
                [
                    -0.3050535, -1.5702318, -2.0725749, -2.9122729, 1.5537690, -0.3059867, 0.4570984, -1.5864122,
                    0.3661526, 1.5876150, 0.9585863, 0.8636706, 0.1804295, 0.1177425, -1.5816300,
                ]
            )
            : (
                [
                    0.5606416, 0.5185883, 0.6787542, 0.1793727, -0.4949233, -0.5343195, -0.1473061, 0.0495152,
                    0.9825389, -0.3506883, 0.2211365, -0.5417333, -0.8006433, -0.0710426,
                ],
                [
                    -0.0603038, 0.9962749, -0.0767262, -0.6519150, 1.2353500, 0.1248146, -2.0500395, -0.3870069,
                    0.7562510, 0.1257218, -0.2477745, 1.3817801, -0.6876968, 1.1856049, -0.2773524,
                ],
                [
                    -0.4361220, -0.1656323, -1.4080222, -2.4211354, 1.5497372, -0.1000335, -2.4389374, -1.4908346,
                    1.1596409, 0.4798791, 1.2644992, 3.2518051, -0.5039256, -0.4733178, -1.2627268,
                ]
            )
        let run = try run(autoencoder)
        #expect(try Difference(every(13, of: autoencoder.decode(latents, run)), picture).absolute < 2e-5)
        #expect(try Difference(every(17, of: autoencoder.latents(image, noise: nil, run)), mode).absolute < 2e-5)
        #expect(try Difference(every(17, of: autoencoder.latents(image, noise: noise, run)), sample).absolute < 2e-5)
        let wrong = try noise.reshaped(Shape(1, 16, 5, 3))
        #expect { try autoencoder.latents(image, noise: wrong, run) } throws: { ($0 as? DiffError)?.code == .shape }
    }

    @Test func latentsWithStatisticsOfTheirChannels() throws {
        let statistics: [String: JSON] = [
            "latents_mean": .array([.number(0.5), .number(-1), .number(0.25), .number(2)]),
            "latents_std": .array([.number(2), .number(0.5), .number(4), .number(1.5)]), "shift_factor": .null,
        ]
        let tiny = TinyAutoencoder()
        let autoencoder = try load(tiny, statistics)
        var numbers = Numbers(8)
        let (latents, image) = (try numbers.tensor([1, 4, 3, 5]), try numbers.tensor([1, 3, 6, 10]))
        let picture: [Float] = [
            -0.2258656, -0.1251375, -0.6887265, 0.2955036, -0.8565132, 0.0798654, -0.3744661, -0.3621694, -0.5016798,
            0.0482959, 0.4203134, 0.2738535, -0.0040901, -0.2435167,
        ]
        let mode: [Float] = [
            -0.0875738, -0.0901706, -0.1275199, 1.1788546, 1.0454242, 1.2947564, -0.0230709, -0.0118886, 0.0009040,
            -0.6462266, -0.6526927, -0.6328011,
        ]
        let run = try run(autoencoder)
        #expect(try Difference(every(13, of: autoencoder.decode(latents, run)), picture).absolute < 2e-5)
        #expect(try Difference(every(5, of: autoencoder.latents(image, noise: nil, run)), mode).absolute < 2e-5)
        // One of the two, another number of them, a shift beside them, a deviation of nothing.
        for (key, value) in [
            ("latents_std", JSON.null), ("latents_mean", .array([.number(1)])), ("shift_factor", .number(0.1)),
            ("latents_std", .array([.number(2), .number(0), .number(4), .number(1.5)])),
        ] {
            var members = statistics
            members[key] = value
            let changed = members
            #expect("\(key)") { try configuration(tiny, changed) } throws: { ($0 as? DiffError)?.code == .format }
        }
    }

    @Test func sixteenChannelsInTilesOfOddSizes() throws {
        var tiny = TinyAutoencoder()
        (tiny.latentChannels, tiny.usesQuantConvolutions, tiny.attends) = (16, false, false)
        let autoencoder = try load(tiny, ["shift_factor": .number(0.1)])
        var numbers = Numbers(8)
        let latents = try numbers.tensor([1, 16, 21, 35])
        let run = try run(autoencoder)
        let (whole, tiled) = (
            try autoencoder.decode(latents, run), try #require(try autoencoder.decodeTiled(latents, tile: 16, run))
        )
        #expect(tiled.shape == whole.shape)
        let (a, b) = (tiled.array, whole.array)
        let error = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Float(a.count)
        let power = b.reduce(0) { $0 + $1 * $1 } / Float(b.count)
        #expect(error < 0.05 * power, "error \(error), power \(power)")
    }

    @Test(arguments: LatentPreview.Space.allCases)
    func previewsAreALinearMap(_ space: LatentPreview.Space) throws {
        let preview = try LatentPreview(space)
        #expect(preview.channels == (space == .stableDiffusion3 ? 16 : 4))
        let run = Run(pool: nil, budget: nil)
        let zero = try Tensor(Array(repeating: 0, count: preview.channels * 6), Shape(1, preview.channels, 2, 3))
        let grey = try preview(zero, run)
        #expect(grey.shape == (try Shape(1, 3, 2, 3)))
        #expect(grey.array.allSatisfy { $0 >= 0.45 && $0 <= 0.65 })
        // The first channel's factors, read off at one pixel of the second sample; the others stay grey.
        var values = Array(repeating: Float(0), count: preview.channels * 12)
        values[preview.channels * 6 + 4] = 0.5
        let moved = try preview(Tensor(values, Shape(2, preview.channels, 2, 3)), run).array
        let red: [LatentPreview.Space: Float] = [
            .stableDiffusion: 0.3512, .stableDiffusionXL: 0.3651, .stableDiffusion3: -0.0922,
        ]
        #expect(abs(moved[18 + 4] - grey.array[0] - 0.25 * (red[space] ?? 0)) < 1e-6)
        #expect(Difference(Array(moved[0..<18]), grey.array).absolute == 0)
        let bright = try preview(Tensor(values.map { $0 * 1000 }, Shape(2, preview.channels, 2, 3)), run).array
        #expect(bright.allSatisfy { $0 >= 0 && $0 <= 1 })
        let wrong = try Tensor([0], Shape(1, 1, 1, 1))
        #expect { try preview(wrong, run) } throws: { ($0 as? DiffError)?.code == .shape }
    }
}
