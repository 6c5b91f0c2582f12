import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `code-vqvae`: images to tokens of all scales and back, and the two resamplings alone.
enum GoldenVQVAE {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let parts = try CodeFixture(fixture)
        let (autoencoder, codes) = (parts.autoencoder, parts.codes)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        report.uses("img")
        let image = try fixture.tensor("img")
        let features = try autoencoder.encode(image, run)
        try report.compare("f", features, CodeTolerance.features)
        try report.compare("enc", autoencoder.encoded(image, run), CodeTolerance.features)
        let (tokens, states) = try codes.encode(features, run)
        for scale in 0..<parts.schedule.count {
            try report.compare("idx.\(scale)", integers: tokens[scale])
            try report.compare("f_hat.\(scale)", states[scale], CodeTolerance.maps)
        }
        try report.compare("var_input", codes.teacherCodes(states, run), CodeTolerance.maps)
        let decoded = try autoencoder.decode(states[states.count - 1], run)
        try report.compare("rec_raw", decoded, CodeTolerance.images)
        let clamped = decoded.array.map { min(max($0, -1), 1) }
        try report.compare("rec", clamped, CodeTolerance.images)
        try report.compare("rec_01", clamped.map { ($0 + 1) / 2 }, CodeTolerance.images)
        let again = try codes.states(tokens, run)
        let rebuilt = try autoencoder.decode(again[again.count - 1], run).array
        try report.compare("rec_from_idx", rebuilt.map { min(max($0, -1), 1) }, CodeTolerance.images)
        try resampling(fixture, &report)
    }

    private static func resampling(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let run = Run(pool: nil, budget: nil)
        for key in fixture.keys("interp.bicubic.") {
            let sides = key.split(separator: ".").compactMap { Int($0) }
            let input = "interp.in.\(sides[0]).\(sides[1])"
            report.uses(input)
            let out = try run.resampledBicubic(fixture.tensor(input), side: sides[1])
            try report.compare(key, out, CodeTolerance.resampling)
        }
        for key in fixture.keys("interp.area.") where !key.hasSuffix(".in") {
            let sides = key.split(separator: ".").compactMap { Int($0) }
            report.uses("\(key).in")
            let out = try run.resampledArea(fixture.tensor("\(key).in"), side: sides[1])
            try report.compare(key, out, CodeTolerance.resampling)
        }
    }
}
