import DiffAccel
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// `sit`: the samplers of flows on the network of SiT, which is a DiT with continuous time.
enum GoldenSiT {
    /// NOTES.md: forward passes 2e-5, fixed steps 1e-4, dopri5 2e-3, stochastic steps 2e-4.
    static let forward = GoldenTolerance.absolute(2e-5)
    static let fixed = GoldenTolerance.absolute(1e-4)
    static let adaptive = GoldenTolerance.absolute(2e-3)
    static let stochastic = GoldenTolerance.absolute(2e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let sit = try Network(fixture)
        report.uses("x", "t", "y", "cfg.x", "cfg.t", "cfg.y", "nocfg.x", "nocfg.y")
        let run = Run(pool: nil, budget: nil)
        let out = try sit.network(
            fixture.tensor("x"), t: fixture.tensor("t"), y: fixture.integers("y"), run)
        try report.compare("out", out, forward)
        let guided = try sit.guided(fixture.tensor("cfg.x"), t: fixture.floats("cfg.t")[0], run)
        try report.compare("cfg.out", run.channels(guided, 0, 4), forward)
        try throughTheFrontDoor(fixture, &report)
        try fixedSteps(fixture, sit, &report)
        try stochasticSteps(fixture, sit, &report)
        try adaptiveSteps(fixture, sit, &report)
        try GoldenSiTTraining.check(fixture, &report)
    }

    /// As a caller of the library sees it: the family is known by its config, the state has one half, and dopri5 is the default.
    private static func throughTheFrontDoor(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let model = try Model(fixture.path)
        if model.familyName != "sit" { report.fail("config.json", "family \(model.familyName)") }
        let n = try fixture.shape("cfg.x")[0] / 2
        var request = SampleRequest(["labels": (Array(try fixture.integers("cfg.y").prefix(n))).json])
        request.tensors["noise"] = .floats(try fixture.tensor("cfg.x").rows(0, n))
        request["guidance"] = try fixture.config.number("cfg_scale", in: 0...100)
        for (sampler, key, steps, tolerance) in [
            ("euler", "euler.traj", 6, fixed), ("midpoint", "midpoint.out", 3, fixed), ("rk4", "rk4.out", 3, fixed),
            (nil as String?, "dopri5.traj", 50, adaptive),
        ] {
            (request["sampler"], request["steps"]) = (sampler, steps)
            let latents = try GoldenDiT.state(model.session().sample(request)).array
            let recorded = try fixture.doubles(key).suffix(2 * latents.count)
            let difference = Difference(latents, Array(recorded.prefix(latents.count)))
            report.confirm(key, difference.absolute <= tolerance.allowed(difference) ? nil : "library: \(difference)")
        }
    }

    private static func fixedSteps(
        _ fixture: GoldenFixture, _ sit: Network, _ report: inout GoldenReport
    ) throws {
        let x = try fixture.tensor("cfg.x")
        for (name, points) in [("euler", 7), ("heun2", 7), ("heun3", 4), ("midpoint", 4), ("rk4", 4)] {
            guard let method = RungeKuttaMethod(rawValue: name) else { continue }
            let sampler = try FlowODESampler(method, points: points)
            let states = try sit.states(sampler, from: x)
            let calls = try sit.calls(name)
            if states.count != sampler.calls.limit || states.count != calls {
                report.fail(name, "\(states.count) evaluations")
            }
            let each = sampler.calls.limit / sampler.steps
            let ends = stride(from: each - 1, to: states.count, by: each).flatMap { states[$0] }
            if fixture.has("\(name).traj") {
                try report.compare("\(name).traj", x.array + ends, fixed)
            } else {
                try report.compare("\(name).out", states.last ?? [], fixed)
            }
        }
        let shape = try fixture.shape("cfg.x")
        let end = try Tensor(Array(fixture.floats("euler.traj").suffix(shape.count)), shape)
        let back = try sit.states(FlowODESampler(.euler, points: 7, reverse: true), from: end)
        try report.compare("euler_reverse.out", back.last ?? [], fixed)
        let plain = try sit.states(
            FlowODESampler(.euler, points: 7), from: fixture.tensor("nocfg.x"), labels: fixture.integers("nocfg.y"))
        try report.compare("nocfg.euler.out", plain.last ?? [], fixed)
    }

    private static func stochasticSteps(
        _ fixture: GoldenFixture, _ sit: Network, _ report: inout GoldenReport
    ) throws {
        let x = try fixture.tensor("cfg.x")
        for method in FlowSDESampler.Method.allCases {
            let key = "sde_\(method.rawValue)"
            report.uses("\(key).noise")
            let states = try sit.states(
                FlowSDESampler(method, points: 6), from: x, noise: fixture.tensor("\(key).noise"))
            // The official code asks the network twice for a drift, for the velocity and for the score.
            if 2 * states.count != (try sit.calls(key)) { report.fail(key, "\(states.count) evaluations") }
            try report.compare("\(key).before_last", states[states.count - 2], stochastic)
            try report.compare("\(key).out", states.last ?? [], stochastic)
        }
        for (last, form) in [(FlowSDESampler.LastStep.tweedie, FlowDiffusion.decreasing), (.euler, .linear)] {
            let key = "sde_last_\(last.rawValue)"
            report.uses("\(key).noise")
            let sampler = try FlowSDESampler(.euler, points: 4, diffusion: form, last: last, lastSize: 0.05)
            let states = try sit.states(sampler, from: x, noise: fixture.tensor("\(key).noise"))
            try report.compare("\(key).out", states.last ?? [], stochastic)
        }
    }

    private static func adaptiveSteps(
        _ fixture: GoldenFixture, _ sit: Network, _ report: inout GoldenReport
    ) throws {
        let x = try fixture.tensor("cfg.x")
        let states = try sit.states(AdaptiveODESampler(), from: x)
        if states.count != (try sit.calls("dopri5")) { report.fail("dopri5.traj", "\(states.count) evaluations") }
        // Only the end is a result; the points between are read off the same polynomials.
        let recorded = try fixture.doubles("dopri5.traj").suffix(x.shape.count)
        let difference = Difference(states.last ?? [], Array(recorded))
        report.confirm("dopri5.traj", difference.absolute <= adaptive.allowed(difference) ? nil : "\(difference)")
    }

    /// The fixture's network.
    private struct Network {
        let network: SiT
        let fixture: GoldenFixture
        let labels: [Int]
        let scale: Float

        init(_ fixture: GoldenFixture) throws {
            self.fixture = fixture
            network = try SiT(DiTConfiguration(fixture.config), fixture.checkpoint().weights())
            labels = try fixture.integers("cfg.y")
            scale = Float(try fixture.config.number("cfg_scale", in: 0...100))
        }

        func calls(_ name: String) throws -> Int {
            try fixture.config.object("nfe").integer(name, in: 0...100_000)
        }

        /// The velocity of both halves, of which the second is not looked at.
        func guided(_ x: Tensor, t: Float, _ run: Run) throws(DiffError) -> Tensor {
            let raw = try network(
                run.doubled(x.rows(0, x.shape[0] / 2)), t: run.filled(labels.count, with: t), y: labels, run)
            let guided = try run.guided(raw, scale: scale, channels: 3)
            return try Tensor(GoldenDiT.bothHalves(guided, raw, channels: 3), raw.shape)
        }

        /// The state after each evaluation of a run; with guidance unless there are labels.
        func states(
            _ sampler: any Sampler, from x: Tensor, labels: [Int]? = nil, noise: Tensor? = nil
        ) throws -> [[Float]] {
            let run = Run(pool: nil, budget: nil)
            try run.begin(
                SamplingContext(
                    layouts: [network.layout], calls: sampler.calls, steps: sampler.steps, rows: x.shape[0]))
            var states: [[Float]] = []
            _ = try sampler.sample(
                from: x, noise: NoiseSource(seed: 0, steps: noise), networkBatch: x.shape[0], run,
                observe: { (progress) throws(DiffError) in states.append(progress.state.array) },
                denoise: { (x, call, run) throws(DiffError) in
                    guard let labels else { return try guided(x, t: call.time, run) }
                    return try network(x, t: run.filled(x.shape[0], with: call.time), y: labels, run)
                })
            return states
        }
    }
}
