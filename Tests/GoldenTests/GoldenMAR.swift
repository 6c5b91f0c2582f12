import DiffAccel
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// `mar`: encoder, decoder, head and generation of a MAR.
enum GoldenMAR {
    /// NOTES.md: networks 2e-5, sampled tokens 2e-4, of untrained heads 1e-4 of the largest.
    static let network = GoldenTolerance.absolute(2e-5)
    static let tokens = GoldenTolerance.absolute(2e-4)
    static let plain = GoldenTolerance.relative(1e-4)
    static let tables = GoldenTolerance.relative(1e-12)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let weights = try fixture.checkpoint().weights()
        let mar = try MAR(MARConfiguration(fixture.config, weights), weights)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try run.begin(SamplingContext(layouts: [mar.layout], calls: 1, rows: 1))
        try networks(fixture, mar, run, &report)
        try schedules(fixture, &report)
        try head(fixture, mar, run, &report)
        try generation(fixture, mar, &report)
        try throughTheFrontDoor(fixture, mar, &report)
        try GoldenMARTraining.check(fixture, &report)
    }

    private static func networks(
        _ fixture: GoldenFixture, _ mar: MAR, _ run: Run, _ report: inout GoldenReport
    ) throws {
        let c = mar.configuration
        let images = try fixture.tensor("imgs")
        let tokens = try run.patchify(images, patch: c.patchSize)
        try report.compare("tokens", tokens, .exact)
        try report.compare(
            "unpatchify",
            run.unpatchifiedChannels(
                tokens, channels: c.channels, gridHeight: c.grid, gridWidth: c.grid, patch: c.patchSize), .exact)
        report.uses("imgs", "order", "mask", "labels")
        let mask = try fixture.floats("mask")
        let labels = try fixture.integers("labels")
        let known = (0..<labels.count).map { sample in
            (0..<c.tokens).filter { mask[sample * c.tokens + $0] == 0 }
        }
        let pass = try MARPass(known: known, wanted: nil, tokens: c.tokens)
        let encoded = try mar.encoder(tokens, pass, labels: labels, run)
        try report.compare("enc.out", encoded, network)
        let all = try mar.decoder(encoded, pass, run)
        try report.compare("dec.out", all, network)
        try someAreThoseOfAll(mar, tokens, known, labels, all, run, &report)
        let nothing = try MARPass(known: known.map { _ in [] }, wanted: nil, tokens: c.tokens)
        let none = labels.map { _ in c.nullClass }
        let blank = try mar.encoder(run.zeros(tokens.shape), nothing, labels: none, run)
        try report.compare("allmask.enc.out", blank, network)
        try report.compare("allmask.dec.out", mar.decoder(blank, nothing, run), network)
    }

    /// Asked about some tokens only, the decoder says of them what it says when it is asked about all.
    private static func someAreThoseOfAll(
        _ mar: MAR, _ tokens: Tensor, _ known: [[Int]], _ labels: [Int], _ all: Tensor, _ run: Run,
        _ report: inout GoldenReport
    ) throws {
        let c = mar.configuration
        let unknown = known.map { known in (0..<c.tokens).filter { !known.contains($0) } }
        let wanted = unknown.map { Array($0.suffix(3)) }
        let pass = try MARPass(known: known, wanted: wanted, tokens: c.tokens)
        let some = try mar(tokens, pass, labels: labels, run).array
        let expected = wanted.enumerated().flatMap { sample, positions in
            positions.flatMap { position in
                let start = (sample * c.tokens + position) * c.decoder.width
                return all.array[start..<start + c.decoder.width]
            }
        }
        let difference = Difference(some, expected.map(Double.init))
        report.verify("some tokens", difference.absolute <= network.allowed(difference) ? nil : "\(difference)")
    }

    private static func schedules(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let text = try fixture.config.string("num_sampling_steps")
        for (prefix, steps) in [("head", text), ("head.plain", String(text.trimmingPrefix("ddim")))] {
            let schedule = try GoldenMAR.schedule(steps)
            try report.compare("\(prefix).timestep_map", integers: schedule.timesteps)
            try report.compare("f64.\(prefix).betas", schedule.betas, tables)
            try report.compare("f64.\(prefix).alphas_cumprod", schedule.alphasCumulative, tables)
        }
        try report.compare("head.map_100", integers: schedule("100").timesteps)
    }

    /// The head's process on the timesteps that `text` means.
    static func schedule(_ text: String) throws -> DiffusionSchedule {
        let process = DiffusionProcess(.squaredCosine, 1e-4, 0.02, trainSteps: 1000)
        let count = Int(text.trimmingPrefix("ddim")) ?? 0
        return try DiffusionSchedule(process, text.hasPrefix("ddim") ? .strided(count) : .even([count]))
    }

    private static func head(
        _ fixture: GoldenFixture, _ mar: MAR, _ run: Run, _ report: inout GoldenReport
    ) throws {
        report.uses("head.x", "head.t", "head.z")
        let x = try fixture.tensor("head.x")
        let y = try run.add(
            mar.head.times(fixture.times("head.t"), run), mar.head.conditions(fixture.tensor("head.z"), run))
        try report.compare("head.out", mar.head(x, mar.head.modulations(of: y, run), rows: x.shape[0], run), network)
        let text = try fixture.config.string("num_sampling_steps")
        let temperature = try fixture.config.number("temperature", in: 0...10)
        for (key, steps, scale, tolerance) in [
            ("head.sample_cfg", text, 3.0, tokens), ("head.sample_nocfg", text, 1.0, tokens),
            ("head.sample_plain", String(text.trimmingPrefix("ddim")), 1.0, plain),
        ] {
            report.uses("\(key).z", "\(key).init", "\(key).noise")
            let initial = try fixture.tensor("\(key).init")
            let n = initial.shape[0]
            // One sample of as many tokens, all of which are made in one iteration.
            let sampler = try TokenDiffusionSampler(
                [TokenIteration(before: n, after: 0, scale: scale)], GenerationOrder([Array(0..<n)], tokens: n),
                schedule(steps), temperature: temperature)
            let noise = try firstRows(n, of: fixture.tensor("\(key).noise"), run)
            let told = try Told(mar.head, z: fixture.tensor("\(key).z"), times: sampler.headTimesteps)
            let out = try sampler.sample(
                told, TokenNoise(TorchRandom(seed: 0), start: initial, steps: noise), width: initial.shape[1], run
            ) { (_) throws(DiffError) in }
            let recorded = try fixture.doubles("\(key).out").prefix(out.shape.count)
            let difference = Difference(out.array, Array(recorded))
            report.confirm(
                "\(key).out", difference.absolute <= tolerance.allowed(difference) ? nil : "\(difference)")
        }
    }

    /// The first `n` rows of each step's noise [steps, rows, width]: the halves that are used.
    private static func firstRows(_ n: Int, of noise: Tensor, _ run: Run) throws -> Tensor {
        try run.copy(run.tokens(noise, 0, n))
    }

    /// A head that was told what a fixture says.
    private final class Told: TokenDiffusionNetworks {
        let head: MARHead
        let z: Tensor
        let times: [Int]
        var modulations: MARModulations?

        init(_ head: MARHead, z: Tensor, times: [Int]) { (self.head, self.z, self.times) = (head, z, times) }

        func read(_ tokens: Tensor, known: [[Int]], wanted: [[Int]], guided: Bool, _ run: Run) throws(DiffError) {}

        func prepare(from step: Int, _ run: Run) throws(DiffError) -> Int {
            let t = try run.tensor(times.map(Float.init), Shape(times.count))
            modulations = try head.modulations(head.times(t, run), head.conditions(z, run), run)
            return times.count
        }

        func predict(_ x: Tensor, step: Int, _ run: Run) throws(DiffError) -> Tensor {
            guard let modulations else { throw DiffError(.internal, "nothing told") }
            return try head(x, modulations, from: step * z.shape[0], rows: z.shape[0], run)
        }
    }
}
