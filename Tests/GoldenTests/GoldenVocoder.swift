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
        try report.compare("waveform", vocoder(mel, run), values)
        for key in ["conv_pre"] + fixture.keys("upsampler.") {
            let shape = try fixture.shape(key)
            var all: [Float] = []
            for sample in 0..<shape[0] {
                _ = try vocoder(mel.rows(sample, 1), run)
                guard let rows = probe.output(key) else {
                    report.fail(key, "no such site was reached")
                    continue
                }
                // Rows in time here, channels there.
                all += try run.transposed(rows.reshaped(Shape(1, rows.shape[0], rows.shape[1]))).array
            }
            try report.compare(key, all, values)
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
