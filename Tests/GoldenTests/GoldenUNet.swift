import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `sd-unet`: one prediction of a Stable Diffusion U-Net with what happens inside, odd sizes and fractional times.
enum GoldenUNet {
    /// NOTES.md: largest difference.
    static let forward = GoldenTolerance.absolute(1e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try fixture.checkpoint()
        let network = try UNet(UNetConfiguration(checkpoint.configuration), checkpoint.weights())
        report.uses("sample", "timestep", "encoder_hidden_states")
        let (x, t) = (try fixture.tensor("sample"), try fixture.times("timestep"))
        let conditioning = Conditioning(states: try fixture.tensor("encoder_hidden_states"))
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: x.shape[0]))
        let prepared = try network.prepare(conditioning, run)
        try report.compare("out", network(x, t: t, prepared, run), forward)
        let time = try network.timeEmbedding(t, run)
        try report.compare("mid.time_proj", time.features, forward)
        try report.compare("mid.time_embedding", time.embedding, forward)
        for key in fixture.keys("mid.") where !key.hasPrefix("mid.time_") {
            guard let output = output(key, probe) else {
                report.fail(key, "no such site was reached")
                continue
            }
            try report.compare(key, output, forward)
        }
        try others(fixture, network, x, prepared, &report)
        try model(fixture, x, t, conditioning, &report)
    }

    /// What the site that a key names gave: the first slot, or a skip of a level.
    private static func output(_ key: String, _ probe: SiteProbe) -> Tensor? {
        let parts = key.dropFirst("mid.".count).split(separator: ".")
        if parts.last == "hidden" { return probe.output(parts.dropLast().joined(separator: ".")) }
        guard parts.dropLast().last == "skip", let number = Int(parts.last ?? "") else {
            return probe.output(parts.joined(separator: "."))
        }
        return probe.output(parts.dropLast(2).joined(separator: "."), slot: number + 1)
    }

    /// Sizes that levels do not halve evenly, and a time between two.
    private static func others(
        _ fixture: GoldenFixture, _ network: UNet, _ x: Tensor, _ prepared: PreparedConditioning,
        _ report: inout GoldenReport
    ) throws {
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        report.uses("odd.sample", "odd.timestep", "odd.encoder_hidden_states", "frac.timestep")
        let odd = try network.prepare(Conditioning(states: fixture.tensor("odd.encoder_hidden_states")), run)
        try report.compare(
            "odd.out", network(fixture.tensor("odd.sample"), t: fixture.times("odd.timestep"), odd, run), forward)
        let time = try fixture.floats("frac.timestep").first ?? 0
        try report.compare(
            "frac.out", network(x, t: run.filled(x.shape[0], with: time), prepared, run), forward)
    }

    /// The same through the library's front door.
    private static func model(
        _ fixture: GoldenFixture, _ x: Tensor, _ t: Tensor, _ conditioning: Conditioning, _ report: inout GoldenReport
    ) throws {
        let model = try Model(fixture.path)
        if model.familyName != "unet2d_condition" { report.fail("config.json", "family \(model.familyName)") }
        var inputs = NamedInputs()
        inputs.tensors = ["sample": x, "timestep": t, "encoder_hidden_states": conditioning.states]
        if let out = try model.forward(inputs)["out"] { try report.compare("out", out, forward) }
    }
}
