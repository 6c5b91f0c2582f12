import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport
import Testing

@Suite struct AutoencoderTinyTests {
    private func load(_ tiny: TinyTAESD, _ tensors: [String: Tensor]? = nil) throws -> AutoencoderTiny {
        let directory = try ScratchDirectory()
        try directory.write(tensors ?? tiny.tensors(), as: "weights.safetensors")
        let table = try TensorTable(FileBytes(path: "\(directory.path)/weights.safetensors"))
        return try AutoencoderTiny(
            AutoencoderTinyConfiguration(JSONObject(tiny.config, source: "config.json")), Weights(table))
    }

    private func run(_ autoencoder: any ImageAutoencoder) throws -> Run {
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
        return run
    }

    /// Latents [2, 4, 3, 5] and a picture [2, 3, 8, 12].
    private func inputs() throws -> (latents: Tensor, image: Tensor) {
        var numbers = Numbers(8)
        return (try numbers.tensor([2, 4, 3, 5], scale: 4), try numbers.tensor([2, 3, 8, 12]))
    }

    private func decode(_ autoencoder: AutoencoderTiny) throws -> [Float] {
        try autoencoder.decode(inputs().latents, run(autoencoder)).array
    }

    private func encode(_ autoencoder: AutoencoderTiny) throws -> [Float] {
        try autoencoder.latents(inputs().image, run(autoencoder)).array
    }

    private func every(_ step: Int, of values: [Float]) -> [Float] {
        stride(from: 0, to: values.count, by: step).map { values[$0] }
    }

    /// diffusers 0.42 with the same weights, latents and picture.
    @Test func picturesAndLatentsAreThoseOfDiffusers() throws {
        var tiny = TinyTAESD()
        (tiny.scaling, tiny.shift) = (0.5, 0.25)
        let autoencoder = try load(tiny)
        #expect(autoencoder.factor == 4 && autoencoder.hasEncoder && autoencoder.hasDecoder)
        let image: [Float] = [
            -1.1455697, -1.2929224, -0.7564087, -0.9394448, -0.8651384, -0.7441407, -0.8457472, -0.9818842, -2.1710563,
            -0.7240776, -1.5046675, -1.1760681, -0.8335466, -1.0567654, -1.2027552,
        ]
        let latents: [Float] = [
            -0.1284772, -0.1408236, -0.0891162, -0.1395785, -0.0961177, -0.1376918, -0.1044067, -0.0827522, -0.1311482,
            -0.0747984,
        ]
        #expect(try Difference(every(97, of: decode(autoencoder)), image).absolute < 5e-6)
        #expect(try Difference(every(5, of: encode(autoencoder)), latents).absolute < 2e-6)
    }

    @Test func levelsMayEnlargeThreeTimes() throws {
        var tiny = TinyTAESD()
        (tiny.encoderBlocks, tiny.decoderBlocks, tiny.decoderWidth, tiny.upsampling) = ([1, 1], [1, 1], 8, 3)
        // An encoder that halves does not belong to it.
        #expect(failure { _ = try load(tiny) } == .format)
        let decoder = try tiny.tensors().filter { $0.key.hasPrefix("decoder") }
        let image: [Float] = [
            -1.3854098, -1.1627071, -1.1187909, -1.1888309, -0.1449412, -0.5626463, -0.8022814, 0.9909599, 1.0854800,
        ]
        let autoencoder = try load(tiny, decoder)
        #expect(autoencoder.factor == 3)
        #expect(try Difference(every(97, of: decode(autoencoder)), image).absolute < 5e-6)
    }

    /// TAESD's own files, whole or in halves, with or without the halves' names in front.
    @Test(arguments: ["", "taesd_", "plain"])
    func everyPublishedSpellingIsOneNetwork(_ form: String) throws {
        let tiny = TinyTAESD()
        let tensors = try tiny.tensors()
        let (image, latents) = (try decode(load(tiny)), try encode(load(tiny)))
        func half(_ name: String) -> [String: Tensor] {
            TinyTAESD.ownNames(tensors, half: name, prefix: form == "plain" ? "" : "\(form)\(name).")
        }
        let decoder = try load(tiny, half("decoder"))
        #expect(!decoder.hasEncoder && decoder.hasDecoder)
        #expect(try sameBits(decode(decoder), image))
        #expect(failure { _ = try encode(decoder) } == .unsupported)
        let encoder = try load(tiny, half("encoder"))
        #expect(encoder.hasEncoder && !encoder.hasDecoder && encoder.factor == 4)
        #expect(try sameBits(encode(encoder), latents))
        #expect(failure { _ = try decode(encoder) } == .unsupported)
        guard form != "plain" else { return }
        let both = try load(tiny, half("decoder").merging(half("encoder")) { first, _ in first })
        #expect(try sameBits(decode(both), image) && sameBits(encode(both), latents))
    }

    @Test func aBatchHasTheBitsOfItsSamples() throws {
        let autoencoder = try load(TinyTAESD())
        let latents = try inputs().latents
        let rows = try [0, 1].map { try autoencoder.decode(latents.rows($0, 1), run(autoencoder)).array }
        #expect(try sameBits(decode(autoencoder), rows[0] + rows[1]))
    }

    /// Convolutions reach as far as there are layers: tiles whose overlap is wider than that are the whole picture inside.
    @Test func tilesAreTheWholePicture() throws {
        let autoencoder = try load(TinyTAESD())
        var numbers = Numbers(8)
        let latents = try numbers.tensor([1, 4, 40, 33])
        let whole = try autoencoder.decode(latents, run(autoencoder))
        let tiled = try #require(try autoencoder.decodeTiled(latents, tile: 24, run(autoencoder)))
        #expect(tiled.shape == whole.shape)
        let difference = Difference(tiled.array, whole.array)
        #expect(difference.relative < 0.3, "\(difference)")
        let one = try autoencoder.decodeTiled(latents, tile: 40, run(autoencoder))
        #expect(try sameBits(#require(one).array, whole.array))
    }

    @Test func farLatentsAreKeptWithinThree() throws {
        let autoencoder = try load(TinyTAESD())
        let (three, thousand) = (
            try Tensor(Array(repeating: 300, count: 16), Shape(1, 4, 2, 2)),
            try Tensor(Array(repeating: 1000, count: 16), Shape(1, 4, 2, 2))
        )
        #expect(
            try sameBits(
                autoencoder.decode(three, run(autoencoder)).array, autoencoder.decode(thousand, run(autoencoder)).array)
        )
    }

    @Test func wrongInputsAndConfigsAreRefused() throws {
        let autoencoder = try load(TinyTAESD())
        var numbers = Numbers(1)
        let (wide, odd, flat) = (
            try numbers.tensor([1, 5, 4, 4]), try numbers.tensor([1, 3, 6, 8]), try numbers.tensor([4, 4, 4])
        )
        for latents in [wide, flat] {
            #expect(failure { _ = try autoencoder.decode(latents, try run(autoencoder)) } == .shape)
        }
        for image in [wide, odd, flat] {
            #expect(failure { _ = try autoencoder.latents(image, try run(autoencoder)) } == .shape)
        }
        for (key, value, code) in [
            ("act_fn", JSON.string("silu"), DiffError.Code.unsupported),
            ("upsample_fn", .string("bilinear"), .unsupported),
            ("decoder_block_out_channels", .array([.integer(4), .integer(8), .integer(8)]), .format),
            ("decoder_block_out_channels", .array([.integer(4)]), .format), ("num_encoder_blocks", .array([]), .format),
            ("upsampling_scaling_factor", .integer(0), .format), ("scaling_factor", .number(0), .format),
            ("_class_name", .string("AutoencoderKL"), .unsupported),
        ] {
            guard case .object(var members) = TinyTAESD().config else { return }
            members[key] = value
            let config = JSON.object(members)
            #expect(
                failure { _ = try AutoencoderTinyConfiguration(JSONObject(config, source: "config.json")) } == code,
                "\(key) \(value)")
        }
        #expect(failure { _ = try load(TinyTAESD(), ["other.weight": Tensor([1], Shape(1))]) } == .incompatible)
    }

    @Test func theDefaultsAreTAESDs() throws {
        let c = try AutoencoderTinyConfiguration(JSONObject(.object([:]), source: "config.json"))
        #expect(c.factor == 8 && c.decoder.width == 64 && c.decoder.blocks == [3, 3, 3, 1])
        var full = TinyTAESD()
        (full.encoderBlocks, full.decoderBlocks) = ([1, 3, 3, 3], [3, 3, 3, 1])
        (full.encoderWidth, full.decoderWidth) = (64, 64)
        #expect(full.shapes.values.reduce(0) { $0 + $1.reduce(1, *) } == 2_445_063)
    }

    private func failure(_ body: () throws -> Void) -> DiffError.Code? {
        do { try body() } catch { return (error as? DiffError)?.code }
        return nil
    }
}
