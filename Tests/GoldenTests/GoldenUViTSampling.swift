import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import Glibc
import TestSupport

/// `l2c_uvit`, c and d: the solver with guidance, without and with a router, as a caller of the library sees it.
enum GoldenUViTSampling {
    /// NOTES.md: outputs 3e-4 where values reach 4; network times 5e-3 of 1000.
    static let sampling = GoldenTolerance.absolute(3e-4)
    static let times = GoldenTolerance.absolute(5e-3)
    static let tables = GoldenTolerance.absolute(1e-6)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let model = try Model(fixture.path)
        if model.familyName != "uvit" { report.fail("config.json", "family \(model.familyName)") }
        try schedule(fixture, &report)
        try plain(fixture, model, &report)
        for name in ["d", "d2"] { try cached(fixture, model, name, &report) }
    }

    private static func schedule(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let process = DiffusionProcess.stableDiffusion
        let alphas = try process.alphasCumulative()
        try report.compare("sched.log_alpha_discrete", alphas.map { 0.5 * log($0) }, tables)
        let betas = alphas.indices.map { $0 == 0 ? 1 - alphas[0] : 1 - alphas[$0] / alphas[$0 - 1] }
        try report.compare("sched.betas_f64", betas, .absolute(1e-9))
    }

    /// One run: the request's noise and labels, the outcomes after every evaluation.
    private static func run(
        _ fixture: GoldenFixture, _ model: Model, _ plan: Plan, evaluations: Int, guided: Bool = true
    ) throws -> (states: [[Float]], timesteps: [Float], result: SampleResult) {
        var request = SampleRequest(["labels": (try fixture.integers("c.y")).json])
        request["steps"] = evaluations / 2
        request.tensors["noise"] = .floats(try fixture.tensor("c.noise"))
        // The official s is a scale of 1 + s.
        request["guidance"] = guided ? try fixture.config.number("cfg_scale", in: 0...1000) + 1 : 1
        var options = SessionOptions()
        options.threads = 2
        var (states, timesteps): ([[Float]], [Float]) = ([], [])
        let result = try model.session(plan, options).sample(request) { event in
            if let latents = event.latents {
                states.append(latents.array)
                timesteps.append(Float(event.timestep ?? 0))
            }
            return .continue
        }
        return (states, timesteps, result)
    }

    // MARK: c

    private static func plain(
        _ fixture: GoldenFixture, _ model: Model, _ report: inout GoldenReport
    ) throws {
        report.uses("c.noise", "c.y")
        report.leaves("c.eps_eval", because: "states after every evaluation show the same")
        let evaluations = try fixture.config.object("c").integer("nfe", in: 2...1000)
        let (states, timesteps, result) = try run(fixture, model, Plan(), evaluations: evaluations)
        try report.compare("c.out", GoldenDiT.state(result), sampling)
        try report.compare("c.t_input", timesteps, times)
        let outer = stride(from: 1, to: states.count, by: 2).flatMap { states[$0] }
        try report.compare("c.x_outer", outer, sampling)
        // What each evaluation sees is the noise, then what the one before left.
        let seen = try fixture.tensor("c.noise").array + states.dropLast().flatMap { $0 }
        try report.compare("c.x_eval", seen, sampling)
        let grid = timesteps.enumerated().filter { $0.offset % 2 == 0 }.map { $0.element / 1000 } + [0.001]
        try report.compare("c.t_grid", grid, .absolute(5e-6))
        let unguided = try run(fixture, model, Plan(), evaluations: evaluations, guided: false)
        try report.compare("c_nocfg.out", GoldenDiT.state(unguided.result), sampling)
        // The model's own guidance is the published one.
        var request = SampleRequest(["labels": (try fixture.integers("c.y")).json])
        request["steps"] = evaluations / 2
        request.tensors["noise"] = .floats(try fixture.tensor("c.noise"))
        let own = try model.session().sample(request)
        try report.compare("c.out", GoldenDiT.state(own), sampling)
    }

    // MARK: d, d2: layer caching

    private static func cached(
        _ fixture: GoldenFixture, _ model: Model, _ name: String, _ report: inout GoldenReport
    ) throws {
        let settings = try fixture.config.object(name)
        report.uses("\(name).router_logits")
        report.leaves("\(name).eps_eval", because: "states after every step show the same")
        let flat = try fixture.floats("\(name).router_logits")
        let width = try fixture.shape("\(name).router_logits")[1]
        let logits = stride(from: 0, to: flat.count, by: width).map { Array(flat[$0..<$0 + width]) }
        let router = try Router(logits: logits, threshold: settings.number("threshold", in: 0...1))
        let mask = logits.indices.flatMap { router.computes(row: $0).map { $0 ? 1 : 0 } }
        try report.compare("\(name).keep_mask", integers: mask)
        let evaluations = try settings.integer("nfe", in: 2...1000)
        let (states, timesteps, result) = try run(
            fixture, model, Plan([LayerCachePlan(.learned(router))]), evaluations: evaluations)
        try report.compare("\(name).t_input", timesteps, times)
        try report.compare(
            "\(name).x_outer", stride(from: 1, to: states.count, by: 2).flatMap { states[$0] }, sampling)
        try report.compare("\(name).out", GoldenDiT.state(result), sampling)
        let plain = try run(fixture, model, Plan(), evaluations: evaluations).result
        try report.compare("\(name).out_nocache", GoldenDiT.state(plain), sampling)

        let steps = result.statistics.steps
        let wanted = try settings.integers("cache_outer_indices", in: 0...1000)
        let (kept, all) = wanted.reduce(into: (0, 0)) { sums, step in
            let sites = steps[2 * step].sites
            sums = (sums.0 + sites.computed, sums.1 + sites.computed + sites.reused)
        }
        if kept != (try settings.integer("kept_sublayers", in: 0...1_000_000)) {
            report.fail("\(name).kept_sublayers", "found \(kept)")
        }
        if all != (try settings.integer("total_sublayers_in_cache_evals", in: 0...1_000_000)) {
            report.fail("\(name).total_sublayers_in_cache_evals", "found \(all)")
        }
        for index in steps.indices where index % 2 == 1 || !wanted.contains(index / 2) {
            if steps[index].sites.reused != 0 {
                report.fail("\(name).cache_outer_indices", "evaluation \(index) reuses")
            }
        }
    }
}
