import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `audioldm2_vae`: the autoencoder of log-mel spectrograms, both ways, the decoder whole and by stretches of time.
enum GoldenMel {
    /// NOTES.md: largest difference.
    static let values = GoldenTolerance.absolute(1e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try fixture.checkpoint()
        let autoencoder = try Autoencoder(AutoencoderConfiguration(checkpoint.configuration), checkpoint.weights())
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
        report.uses("latents", "mel_in", "z")
        let latents = try fixture.tensor("latents")
        try report.compare("mel", autoencoder.decode(latents, run), values)
        for (key, output) in [
            ("post_quant_conv", probe.input("decoder.conv_in")),
            ("decoder.mid_block", probe.output("decoder.mid_block")),
        ] {
            guard let output else {
                report.fail(key, "no such site was reached")
                continue
            }
            try report.compare(key, output, values)
        }
        let plain = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let moments = try autoencoder.encode(fixture.tensor("mel_in"), plain)
        try report.compare("moments", moments, values)
        try report.compare("mode", plain.channels(moments, 0, autoencoder.configuration.latentChannels), values)
    }
}
