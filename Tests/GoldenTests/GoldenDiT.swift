import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// `l2c_dit`: the official DiT with every sampler, guidance, and layer caching (Learning-to-Cache).
enum GoldenDiT {
    /// NOTES.md: forward passes, largest difference.
    static let forward = GoldenTolerance.absolute(5e-5)
    /// NOTES.md: sampling cases, relative to the largest value.
    static let sampling = GoldenTolerance.relative(2e-4)
    /// Tables in double precision; β' = 1 - ᾱ/ᾱ loses three digits where β is 1e-4, the logarithm of a variance too.
    static let tables = GoldenTolerance.absolute(1e-9)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let dit = try GoldenNetwork(fixture, .official)
        try forwardTraces(fixture, dit, &report)
        try guidance(fixture, dit, &report)
        try tables(fixture, &report)
        let model = try Model(fixture.path)
        try plainSampling(fixture, model, &report)
        try predictedClean(fixture, dit, &report)
        for name in ["d", "d2"] { try layerCaching(fixture, model, name, &report) }
        try GoldenRouterTraining.check(fixture, &report)
    }

    // MARK: a: one forward pass, with what happens inside

    private static func forwardTraces(
        _ fixture: GoldenFixture, _ dit: GoldenNetwork, _ report: inout GoldenReport
    ) throws {
        report.uses("a.x", "a.t", "a.y")
        let (x, t, y) = (try fixture.tensor("a.x"), try fixture.times("a.t"), try fixture.integers("a.y"))
        let run = try dit.run(rows: y.count)
        try report.compare("a.t_freq", dit.network.timeFeatures(t, run), forward)
        try report.compare("a.t_emb", dit.network.timeEmbedding(t, run), forward)
        try report.compare("a.y_emb", dit.network.classEmbedding(y, run), forward)
        try report.compare("a.patch_tokens", dit.network.patchTokens(x.rows(0, 1), run), forward)

        let probe = SiteProbe()
        let traced = try dit.run(rows: y.count, probe)
        try report.compare("a.out", dit.network(x, t: t, y: y, traced), forward)
        for block in 0..<dit.network.configuration.depth {
            for (site, key) in [("", ""), (".attn", ".attn"), (".mlp", ".mlp")] {
                guard let output = probe.output("blocks.\(block)\(site)") else {
                    report.fail("a.block\(block)\(key)", "the site was not reached")
                    continue
                }
                try report.compare("a.block\(block)\(key)", output.rows(0, 1), forward)
            }
        }
        // The same through the front door, where config.json decides what the checkpoint is.
        var inputs = NamedInputs()
        inputs.tensors = ["x": x, "t": t]
        inputs.integers = ["y": y]
        let model = try Model(fixture.path)
        if model.familyName != "dit" { report.fail("config.json", "family \(model.familyName)") }
        if let out = try model.forward(inputs)["out"] { try report.compare("a.out", out, forward) }
    }

    // MARK: b: guidance

    private static func guidance(
        _ fixture: GoldenFixture, _ dit: GoldenNetwork, _ report: inout GoldenReport
    ) throws {
        report.uses("b.x", "b.t", "b.y")
        let (x, y) = (try fixture.tensor("b.x"), try fixture.integers("b.y"))
        let t = try fixture.integers("b.t").map(Float.init)
        guard let null = dit.network.configuration.nullClass else { return report.fail("b.raw", "no null class") }
        let run = try dit.run(rows: 2 * y.count)
        let times = try Tensor(t + t, Shape(2 * t.count))
        let raw = try dit.network(run.doubled(x), t: times, y: y + y.map { _ in null }, run)
        try report.compare("b.raw", raw, forward)
        let scale = try fixture.config.number("cfg_scale", in: 0...1000)
        let channels = try fixture.config.integer("cfg_channels", in: 1...1024)
        let guided = try run.guided(raw, scale: Float(scale), channels: channels)
        try report.compare("b.out", bothHalves(guided, raw, channels: channels), forward, shape: raw.shape)
    }

    /// The official code writes the guided channels to both halves; the library carries the first half only.
    static func bothHalves(_ guided: Tensor, _ raw: Tensor, channels: Int) -> [Float] {
        let (first, half) = (guided.array, raw.shape[0] / 2)
        var second = Array(raw.array.suffix(first.count))
        let sample = first.count / max(1, half)
        let span = channels * raw.shape[2] * raw.shape[3]
        for row in 0..<half {
            for i in 0..<span { second[row * sample + i] = first[row * sample + i] }
        }
        return first + second
    }

    // MARK: sched: the respaced process

    private static func tables(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let options = try GoldenSamplingOptions(fixture, "c")
        let schedule = try DiffusionSchedule(options.process, options.timestepSpacing)
        try report.compare("c.timestep_map", integers: schedule.timesteps)
        try report.compare("sched.betas_f64", schedule.betas, tables)
        try report.compare("sched.alphas_cumprod_f64", schedule.alphasCumulative, tables)
        try report.compare("sched.posterior_log_variance_clipped_f64", schedule.posteriorLogVariance, tables)
    }

    // MARK: c, g: sampling without methods

    private static func plainSampling(
        _ fixture: GoldenFixture, _ model: Model, _ report: inout GoldenReport
    ) throws {
        for name in ["c", "c_nocfg", "c_eta05", "g"] {
            let options = try GoldenSamplingOptions(fixture, name)
            var request = try options.request(fixture, guided: name != "c_nocfg")
            if fixture.has("\(name).noise_steps") {
                report.uses("\(name).noise_steps")
                request.tensors["step_noise"] = .floats(try fixture.tensor("\(name).noise_steps"))
            }
            let (steps, result) = try sampled(model, Plan(), request)
            if name != "c_nocfg" { try report.compare("\(name).x_steps", steps, sampling) }
            try report.compare("\(name).out", state(result), sampling)
        }
        report.uses("c.noise", "c.y")
    }

    /// The latents a run ended with.
    static func state(_ result: SampleResult) throws -> Tensor {
        guard let latents = result.latents else { throw DiffError(.internal, "a result without latents") }
        return latents
    }

    /// States after every step, and the result, of a run of the library as a caller sees it.
    static func sampled(
        _ model: Model, _ plan: Plan, _ request: SampleRequest
    ) throws -> (steps: [Float], result: SampleResult) {
        var options = SessionOptions()
        options.threads = 2
        let session = try model.session(plan, options)
        var steps: [Float] = []
        let result = try session.sample(request) { event in
            if let latents = event.latents { steps += latents.array }
            return .continue
        }
        return (steps, result)
    }

    // MARK: c: what a sampler alone tells

    private static func predictedClean(
        _ fixture: GoldenFixture, _ dit: GoldenNetwork, _ report: inout GoldenReport
    ) throws {
        let options = try GoldenSamplingOptions(fixture, "c")
        let (noise, y) = (try fixture.tensor("c.noise"), try fixture.integers("c.y"))
        let (states, clean) = try dit.sampled(
            DDIMSampler(DiffusionSchedule(options.process, options.timestepSpacing), eta: options.eta),
            noise: noise, labels: y, scale: Float(options.scale), channels: options.channels)
        try report.compare("c.x_steps", states, sampling)
        try report.compare("c.pred_x0_steps", clean, sampling)
    }

    // MARK: d, d2: layer caching

    private static func layerCaching(
        _ fixture: GoldenFixture, _ model: Model, _ name: String, _ report: inout GoldenReport
    ) throws {
        let options = try GoldenSamplingOptions(fixture, name)
        let settings = try fixture.config.object(name)
        report.uses("\(name).router_logits")
        let flat = try fixture.floats("\(name).router_logits")
        let width = try fixture.shape("\(name).router_logits")[1]
        let logits = stride(from: 0, to: flat.count, by: width).map { Array(flat[$0..<$0 + width]) }
        let router = try Router(logits: logits, threshold: settings.number("threshold", in: 0...1))
        let mask = logits.indices.flatMap { router.computes(row: $0).map { $0 ? 1 : 0 } }
        try report.compare("\(name).keep_mask", integers: mask)
        let schedule = try DiffusionSchedule(options.process, options.timestepSpacing)
        try report.compare("\(name).timestep_map", integers: schedule.timesteps)

        let request = try options.request(fixture, guided: true)
        let plan = Plan([LayerCachePlan(.learned(router))])
        let (steps, result) = try sampled(model, plan, request)
        try report.compare("\(name).x_steps", steps, sampling)
        try report.compare("\(name).out", state(result), sampling)
        try report.compare("\(name).out_nocache", state(sampled(model, Plan(), request).result), sampling)

        // Which steps reuse, and how much, is written in the config.
        let cached = try settings.integers("cache_step_indices", in: 0...100_000)
        let statistics = result.statistics.steps
        let last = statistics.count - 1
        let kept = cached.reduce(0) { $0 + statistics[last - $1].sites.computed }
        let total = cached.reduce(0) { $0 + statistics[last - $1].sites.computed + statistics[last - $1].sites.reused }
        if kept != (try settings.integer("kept_sublayers", in: 0...1_000_000)) {
            report.fail("\(name).kept_sublayers", "found \(kept)")
        }
        if total != (try settings.integer("total_sublayers_in_cache_steps", in: 0...1_000_000)) {
            report.fail("\(name).total_sublayers_in_cache_steps", "found \(total)")
        }
        for index in 0...last where !cached.contains(index) && statistics[last - index].sites.reused != 0 {
            report.fail("\(name).cache_step_indices", "index \(index) reuses and should be a full step")
        }
    }
}
