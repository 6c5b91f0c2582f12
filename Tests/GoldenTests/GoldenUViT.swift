import DiffCheckpoint
import DiffModels
import DiffTensor
import TestSupport

/// `l2c_uvit`: the official U-ViT, its blocks, guidance, solver, and layer caching.
enum GoldenUViT {
    /// NOTES.md: forward passes, largest difference.
    static let forward = GoldenTolerance.absolute(5e-5)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try UViT(UViTConfiguration(fixture.config.object("model")), fixture.checkpoint().weights())
        try forwardTraces(fixture, network, &report)
        try guidance(fixture, network, &report)
        try GoldenUViTSampling.check(fixture, &report)
        try GoldenUViTTraining.check(fixture, &report)
    }

    private static func run(_ network: UViT, rows: Int, _ methods: (any Acceleration)...) throws -> Run {
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack(methods))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: rows))
        return run
    }

    // MARK: a: one forward pass, with what happens inside

    private static func forwardTraces(
        _ fixture: GoldenFixture, _ network: UViT, _ report: inout GoldenReport
    ) throws {
        report.uses("a.x", "a.t", "a.y")
        let (x, t, y) = (try fixture.tensor("a.x"), try fixture.tensor("a.t"), try fixture.integers("a.y"))
        let plain = try run(network, rows: y.count)
        try report.compare("a.t_freq", network.timeFeatures(t, plain), forward)
        try report.compare("a.time_token", network.timeToken(t, plain), forward)
        try report.compare("a.patch_tokens", network.patchTokens(x.rows(0, 1), plain), forward)
        let probe = SiteProbe()
        try report.compare("a.out", network(x, t: t, y: y, run(network, rows: y.count, probe)), forward)
        for (index, block) in network.layout.sites(.block).enumerated() {
            let name = network.layout.info(block).name
            for part in ["", ".attn", ".mlp"] {
                guard let output = probe.output("\(name)\(part)") else {
                    report.fail("a.block\(index)\(part)", "the site was not reached")
                    continue
                }
                try report.compare("a.block\(index)\(part)", output.rows(0, 1), forward)
            }
            // What the first sub-layer works on is what comes out of `skip_linear`.
            let key = "a.block\(index).skip"
            guard fixture.has(key), let input = probe.input("\(name).attn") else { continue }
            try report.compare(key, input.rows(0, 1), forward)
        }
    }

    // MARK: b: guidance

    private static func guidance(
        _ fixture: GoldenFixture, _ network: UViT, _ report: inout GoldenReport
    ) throws {
        report.uses("b.x", "b.t", "b.y")
        let (x, y) = (try fixture.tensor("b.x"), try fixture.integers("b.y"))
        guard let null = network.configuration.nullClass else { return report.fail("b.out", "no null class") }
        let times = try fixture.tensor("b.t").array
        let run = try run(network, rows: 2 * y.count)
        let raw = try network(
            run.doubled(x), t: Tensor(times + times, Shape(2 * times.count)), y: y + y.map { _ in null }, run)
        try report.compare("b.cond", raw.rows(0, y.count), forward)
        try report.compare("b.uncond", raw.rows(y.count, y.count), forward)
        // The official code's s is the field's scale less one.
        let scale = try fixture.config.number("cfg_scale", in: 0...1000) + 1
        try report.compare("b.out", run.guided(raw, scale: Float(scale), channels: x.shape[1]), forward)
    }
}

/// `l2c_uvit_eps`: activations so small that the norms' eps is seen.
enum GoldenUViTEps {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try UViT(UViTConfiguration(fixture.config.object("model")), fixture.checkpoint().weights())
        report.uses("a.x", "a.t", "a.y")
        let y = try fixture.integers("a.y")
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let out = try network(fixture.tensor("a.x"), t: fixture.tensor("a.t"), y: y, run)
        try report.compare("a.out", out, .absolute(2e-4))
    }
}
