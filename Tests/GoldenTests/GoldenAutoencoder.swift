import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `sd-vae`: the Stable Diffusion autoencoder, decoding with what happens inside, and encoding.
enum GoldenAutoencoder {
    /// NOTES.md: largest difference.
    static let values = GoldenTolerance.absolute(1e-4)
    /// NOTES.md: 8-bit pixels may differ by 1, and only in isolated places: at most 1 in 100.
    static let pixelStep = 1
    static let pixelShare = 0.01

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try fixture.checkpoint()
        let autoencoder = try Autoencoder(
            AutoencoderConfiguration(checkpoint.configuration), checkpoint.weights())
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
        report.uses("latents")
        let latents = try fixture.tensor("latents")
        let decoded = try autoencoder.decode(latents, run)
        try report.compare("decoded", decoded, values)
        for key in fixture.keys("mid.") {
            let name = String(key.dropFirst(4))
            // The first convolution's input is what the 1 x 1 convolution before it made.
            let output = name == "post_quant_conv" ? probe.input("decoder.conv_in") : probe.output(name)
            guard let output else {
                report.leaves(key, because: "the library has no site of that name")
                continue
            }
            try report.compare(key, output, values)
        }
        try images(fixture, decoded, run, &report)

        let model = try Model(fixture.path)
        if model.familyName != "autoencoder_kl" { report.fail("config.json", "family \(model.familyName)") }
        var inputs = NamedInputs()
        inputs.tensors = ["latents": latents]
        if let image = try model.forward(inputs, wanted: ["image"])["image"] {
            try report.compare("decoded", image, values)
        }
        if autoencoder.hasEncoder {
            try encoding(fixture, autoencoder, model, &report)
        } else {
            report.leaves("encode.", because: "the checkpoint has no encoder")
        }
    }

    private static func images(
        _ fixture: GoldenFixture, _ decoded: Tensor, _ run: Run, _ report: inout GoldenReport
    ) throws {
        try report.compare("image01", decoded.array.map { min(max($0 / 2 + 0.5, 0), 1) }, values)
        let shape = decoded.shape
        let bytes = try Storage(byteCount: shape.count, budget: nil)
        try run.quantize(decoded, into: bytes, scale: 127.5, offset: 127.5)
        let found = UnsafeRawBufferPointer(start: bytes.base, count: shape.count)
        let expected = try fixture.integers("image_u8_nchw")
        var (off, worst) = (0, 0)
        let (channels, height, width) = (shape[1], shape[2], shape[3])
        for (i, want) in expected.enumerated() {
            let (n, c) = (i / (channels * height * width), i / (height * width) % channels)
            let pixel = n * height * width + i % (height * width)
            let step = abs(Int(found[pixel * channels + c]) - want)
            worst = max(worst, step)
            off += step == 0 ? 0 : 1
        }
        let tooMany = worst > pixelStep || Double(off) > max(1, pixelShare * Double(expected.count))
        report.confirm(
            "image_u8_nchw", tooMany ? "\(off) of \(expected.count) values differ, by up to \(worst)" : nil)
    }

    private static func encoding(
        _ fixture: GoldenFixture, _ autoencoder: Autoencoder, _ model: Model, _ report: inout GoldenReport
    ) throws {
        report.uses("encode.image")
        var inputs = NamedInputs()
        inputs.tensors = ["image": try fixture.tensor("encode.image")]
        guard let moments = try model.forward(inputs, wanted: ["moments"])["moments"] else {
            return report.fail("encode.mean", "no output")
        }
        let run = Run(pool: nil, budget: nil)
        let channels = autoencoder.configuration.latentChannels
        let mean = try run.channels(moments, 0, channels)
        try report.compare("encode.mean", mean, values)
        try report.compare("encode.logvar", run.channels(moments, channels, channels), values)
        let c = autoencoder.configuration
        try report.compare(
            "encode.mode_scaled", mean.array.map { ($0 - c.shiftFactor) * c.scalingFactor }, values)
    }
}
