import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `audioldm2_vocoder`: a waveform from a log-mel spectrogram with what happens inside, whole and in stretches.
enum GoldenVocoder {
    /// NOTES.md: largest difference.
    static let values = GoldenTolerance.absolute(2e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try fixture.checkpoint()
        let vocoder = try Vocoder(VocoderConfiguration(checkpoint.configuration), checkpoint.weights())
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [vocoder.layout], calls: 1, rows: 1))
        report.uses("mel")
        let mel = try fixture.tensor("mel")
        let wave = try vocoder(mel, run)
        try report.compare("waveform", wave, values)
        for key in ["conv_pre"] + fixture.keys("upsampler.") {
            guard let output = probe.output(key) else {
                report.fail(key, "no such site was reached")
                continue
            }
            try report.compare(key, output, values)
        }
        let alone = try vocoder(mel.rows(0, 1), Run(pool: nil, budget: nil))
        try report.compare("waveform_unbatched0", alone.array, values)
        var (pieces, next) = ([Float](), 0)
        try vocoder.stream(mel.rows(0, 1), Run(pool: nil, budget: nil)) { (first, stretch) throws(DiffError) in
            if first != next { throw DiffError(.internal, "a stretch at \(first), expected \(next)") }
            pieces += stretch.array
            next += stretch.shape[1]
        }
        try report.compare("waveform_unbatched0", pieces, values)
    }
}
