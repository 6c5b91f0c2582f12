import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

@Suite struct AutoencoderTests {
    private func load(_ tensors: [String: Tensor], _ tiny: TinyAutoencoder = TinyAutoencoder()) throws -> Autoencoder {
        let directory = try ScratchDirectory()
        try directory.write(tensors, as: "weights.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
        return try Autoencoder(
            AutoencoderConfiguration(JSONObject(tiny.config, source: "config.json")), Weights(table))
    }

    private func run(_ autoencoder: Autoencoder) throws -> Run {
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
        return run
    }

    private func decode(_ autoencoder: Autoencoder) throws -> [Float] {
        var numbers = Numbers(8)
        return try autoencoder.decode(numbers.tensor([2, 4, 4, 6]), run(autoencoder)).array
    }

    private func encode(_ autoencoder: Autoencoder) throws -> [Float] {
        var numbers = Numbers(8)
        return try autoencoder.encode(numbers.tensor([1, 3, 8, 12]), run(autoencoder)).array
    }

    @Test func everyPublishedSpellingIsOneNetwork() throws {
        let tiny = TinyAutoencoder()
        let tensors = try tiny.tensors()
        let plain = try load(tensors)
        let old = try load(TinyAutoencoder.oldNames(tensors))
        let original = try load(tiny.latentDiffusionNames(tensors))
        let (image, moments) = (try decode(plain), try encode(plain))
        #expect(try sameBits(decode(old), image) && sameBits(encode(old), moments))
        #expect(try sameBits(decode(original), image) && sameBits(encode(original), moments))
        #expect(image.count == 2 * 3 * 8 * 12 && moments.count == 8 * 4 * 6)
    }

    @Test func threeLevelsAndTwoLayersLoadUnderEveryName() throws {
        var tiny = TinyAutoencoder()
        (tiny.levels, tiny.layers) = ([8, 8, 16], 2)
        let tensors = try tiny.tensors()
        let image = try decode(load(tensors, tiny))
        #expect(try sameBits(decode(load(tiny.latentDiffusionNames(tensors), tiny)), image))
    }

    @Test func aDecoderAloneLoadsAndCannotEncode() throws {
        let tensors = try TinyAutoencoder().tensors()
        let decoder = tensors.filter { !$0.key.hasPrefix("encoder.") }
        let autoencoder = try load(decoder)
        #expect(!autoencoder.hasEncoder)
        #expect(try sameBits(decode(autoencoder), decode(load(tensors))))
        #expect { try encode(autoencoder) } throws: { ($0 as? DiffError)?.code == .unsupported }
        #expect(try !load(decoder.filter { !$0.key.hasPrefix("quant_conv") }).hasEncoder)
    }

    @Test func latentsAreDividedByTheScalingFactor() throws {
        let tiny = TinyAutoencoder()
        let autoencoder = try load(tiny.tensors())
        guard case .object(var members) = tiny.config else { return }
        members["scaling_factor"] = .number(1)
        let directory = try ScratchDirectory()
        try directory.write(tiny.tensors(), as: "weights.safetensors")
        let unscaled = try Autoencoder(
            AutoencoderConfiguration(JSONObject(.object(members), source: "config.json")),
            Weights(TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))))
        var numbers = Numbers(8)
        let latents = try numbers.tensor([1, 4, 4, 4])
        let doubled = try Tensor(latents.array.map { $0 * 2 }, latents.shape)
        // The factor is 0.5, so that multiplication is exact.
        #expect(
            try sameBits(
                autoencoder.decode(latents, run(autoencoder)).array, unscaled.decode(doubled, run(unscaled)).array))
    }

    @Test func logVariancesAreLimited() throws {
        var tensors = try TinyAutoencoder().tensors()
        tensors["quant_conv.bias"] = try Tensor([100, -100, 0, 0, 100, -100, 0, 0], Shape(8))
        let moments = try encode(load(tensors))
        let area = 24
        #expect(moments[0..<area].allSatisfy { $0 > 50 } && moments[area..<2 * area].allSatisfy { $0 < -50 })
        #expect(moments[4 * area..<5 * area].allSatisfy { $0 == 20 })
        #expect(moments[5 * area..<6 * area].allSatisfy { $0 == -30 })
    }

    @Test func oneTileThatCoversAllIsTheWholeImage() throws {
        let autoencoder = try load(TinyAutoencoder().tensors())
        var numbers = Numbers(8)
        let latents = try numbers.tensor([1, 4, 6, 8])
        #expect(
            try sameBits(
                #require(try autoencoder.decodeTiled(latents, tile: 8, run(autoencoder))).array,
                autoencoder.decode(latents, run(autoencoder)).array))
    }

    /// Tiles have statistics and attention of their own: an approximation. Where the middle attention adds nothing, white
    /// noise has nearly equal statistics in every tile, so what remains is their sampling error of some percent.
    @Test(arguments: [(24, 24), (20, 33), (12, 40)])
    func tilesAreCloseToTheWholeImage(_ height: Int, _ width: Int) throws {
        var tensors = try TinyAutoencoder().tensors()
        let silent = "decoder.mid_block.attentions.0.to_out.0.weight"
        tensors[silent] = try tensors[silent].map { try Tensor($0.array.map { $0 * 0 }, $0.shape) }
        let autoencoder = try load(tensors)
        var numbers = Numbers(8)
        let latents = try numbers.tensor([1, 4, height, width])
        let whole = try autoencoder.decode(latents, run(autoencoder))
        let tiled = try #require(try autoencoder.decodeTiled(latents, tile: 16, run(autoencoder)))
        #expect(tiled.shape == whole.shape)
        let (a, b) = (tiled.array, whole.array)
        let error = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Float(a.count)
        let mean = b.reduce(0, +) / Float(b.count)
        let variance = b.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(b.count)
        #expect(error < 0.05 * variance, "error \(error), variance \(variance)")
    }

    @Test func decodingMemoryIsThatOfATile() throws {
        let autoencoder = try load(TinyAutoencoder().tensors())
        func bytes(_ side: Int, tile: Int?) throws -> Int {
            let run = Run(dryOn: 1)
            try run.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
            let latents = try Tensor(Storage(virtual: 16 * side * side), Shape(1, 4, side, side))
            let tiled = try tile.flatMap { try autoencoder.decodeTiled(latents, tile: $0, run) }
            let image = try tiled ?? autoencoder.decode(latents, run)
            return run.workspace.peakBytes - image.byteCount
        }
        let whole = try bytes(128, tile: nil)
        #expect(try bytes(128, tile: 16) * 8 < whole)
    }

    @Test func wrongInputsAreRefused() throws {
        let autoencoder = try load(TinyAutoencoder().tensors())
        let run = try run(autoencoder)
        var numbers = Numbers(1)
        let (flat, wide, odd) = (
            try numbers.tensor([4, 6, 6]), try numbers.tensor([1, 5, 6, 6]), try numbers.tensor([1, 3, 7, 8])
        )
        let latents = try numbers.tensor([2, 4, 12, 12])
        #expect { try autoencoder.decode(flat, run) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try autoencoder.decode(wide, run) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try autoencoder.encode(odd, run) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try autoencoder.encode(wide, run) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try autoencoder.decodeTiled(latents, tile: 8, run) } throws: { ($0 as? DiffError)?.code == .shape }
        #expect { try autoencoder.decodeTiled(latents.rows(0, 1), tile: 7, run) } throws: {
            ($0 as? DiffError)?.code == .shape
        }
    }

    @Test(arguments: [
        ("block_out_channels", JSON.array([]), DiffError.Code.format),
        ("block_out_channels", .array([.integer(6)]), .format),
        ("block_out_channels", .array(Array(repeating: .integer(4), count: 9)), .format),
        ("norm_num_groups", .integer(0), .format), ("latent_channels", .integer(0), .format),
        ("scaling_factor", .number(0), .format), ("act_fn", .string("relu"), .unsupported),
        ("layers_per_block", .integer(1000), .format), ("use_quant_conv", .integer(2), .format),
    ])
    func badConfigsAreRefused(_ key: String, _ value: JSON, _ code: DiffError.Code) throws {
        guard case .object(var members) = TinyAutoencoder().config else { return }
        members[key] = value
        #expect("\(key) \(value)") {
            try AutoencoderConfiguration(JSONObject(.object(members), source: "config.json"))
        } throws: { ($0 as? DiffError)?.code == code }
    }

    @Test func theDefaultsAreStableDiffusions() throws {
        let c = try AutoencoderConfiguration(JSONObject(.object([:]), source: "config.json"))
        #expect(
            c.levelChannels == [128, 256, 512, 512] && c.factor == 8 && c.groups == 32 && c.scalingFactor == 0.18215)
        var full = TinyAutoencoder()
        (full.levels, full.layers, full.groups) = ([128, 256, 512, 512], 2, 32)
        let directory = try ScratchDirectory()
        let path = try directory.file("weights.safetensors")
        try VirtualCheckpoint.write(full.shapes, to: path)
        let table = try TensorTable(FileBytes(path: path))
        #expect(table.names.reduce(0) { $0 + (table.info($1)?.shape.count ?? 0) } == 83_653_863)
        #expect(try Autoencoder(c, Weights(table, options: .init(dryRun: true))).hasEncoder)
    }
}
