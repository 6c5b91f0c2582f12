import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `mar_vae_encoder` and `mar_vae_decoder`: the two sides of MAR's autoencoder, each in a checkpoint of its own.
enum GoldenMARAutoencoder {
    /// NOTES.md: 2e-5 of the largest.
    static let values = GoldenTolerance.relative(2e-5)

    private static func autoencoder(_ fixture: GoldenFixture) throws -> Autoencoder {
        let checkpoint = try fixture.checkpoint()
        return try Autoencoder(AutoencoderConfiguration(checkpoint.configuration), checkpoint.weights())
    }

    private static func model(_ fixture: GoldenFixture) throws -> Model {
        var options = ModelOptions()
        options.family = "autoencoder_kl"
        return try Model(fixture.path, options)
    }

    static func encoder(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let autoencoder = try autoencoder(fixture)
        let c = autoencoder.configuration
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        report.uses("x", "noise")
        let x = try fixture.tensor("x")
        let moments = try autoencoder.encode(x, run)
        try report.compare("moments", moments, values)
        let logs = try run.channels(moments, c.latentChannels, c.latentChannels)
        try report.compare("mean", run.channels(moments, 0, c.latentChannels), values)
        try report.compare("std", run.gaussianSample(run.zeros(logs.shape), logs, ones(logs.shape)), values)
        try report.compare(
            "sample_scaled", autoencoder.latents(x, noise: fixture.tensor("noise"), run), values)
        report.leaves("enc", because: "it is what the last convolution sees")
        var inputs = NamedInputs()
        inputs.tensors = ["image": x]
        if let found = try model(fixture).forward(inputs, wanted: ["moments"])["moments"] {
            try report.compare("moments", found, values)
        }
        if autoencoder.hasDecoder { report.fail("weights", "there is no decoder") }
    }

    private static func ones(_ shape: Shape) throws -> Tensor {
        try Tensor([Float](repeating: 1, count: shape.count), shape)
    }

    static func decoder(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let autoencoder = try autoencoder(fixture)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        report.uses("latent", "scaled_latent")
        let scaled = try fixture.tensor("scaled_latent")
        try report.compare("image", autoencoder.decode(scaled, run), values)
        let scale = Double(autoencoder.configuration.scalingFactor)
        try report.compare("latent", scaled.array.map { Double($0) / scale }, values)
        var inputs = NamedInputs()
        inputs.tensors = ["latents": scaled]
        if let found = try model(fixture).forward(inputs, wanted: ["image"])["image"] {
            try report.compare("image", found, values)
        }
        if autoencoder.hasEncoder { report.fail("weights", "there is no encoder") }
    }
}
