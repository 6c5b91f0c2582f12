import DiffAccel
import DiffModels
import DiffSampling
import DiffTensor

/// `l2c_dit_diffusers`: the diffusers layout, run as diffusers runs it and as the official code would.
enum GoldenDiTDiffusers {
    /// NOTES.md: forward passes, largest difference.
    static let forward = GoldenTolerance.absolute(5e-5)
    /// NOTES.md: the loop, largest difference.
    static let loop = GoldenTolerance.absolute(1e-3)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        report.uses("a.x", "a.t", "a.y", "c.noise", "c.y")
        var inputs = NamedInputs()
        inputs.tensors = ["x": try fixture.tensor("a.x"), "t": try fixture.times("a.t")]
        inputs.integers = ["y": try fixture.integers("a.y")]
        for (key, conventions) in [("a.out", DiTConventions.diffusers), ("a.out_freqshift0_eps1e6", .official)] {
            guard let out = try model(fixture, conventions).forward(inputs)["out"] else {
                report.fail(key, "no output")
                continue
            }
            try report.compare(key, out, forward)
        }
        try sampling(fixture, &report)
    }

    private static func model(_ fixture: GoldenFixture, _ conventions: DiTConventions) throws -> Model {
        var options = ModelOptions()
        options.conventions = conventions.rawValue
        return try Model(fixture.path, options)
    }

    private static func sampling(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let scheduler = try fixture.config.object("scheduler")
        let type = try scheduler.string("type")
        let spacing = try scheduler.string("timestep_spacing")
        guard type == "DDIM", spacing == "leading", try scheduler.bool("set_alpha_to_one"),
            try !scheduler.bool("clip_sample")
        else { return report.fail("c", "scheduler options that the library does not have") }
        var request = SampleRequest(["labels": (try fixture.integers("c.y")).json])
        request["steps"] = try scheduler.integer("steps", in: 1...100_000)
        request["spacing"] = spacing
        request["steps_offset"] = try scheduler.integer("steps_offset", in: 0...1000)
        request["eta"] = try scheduler.number("eta", in: 0...1)
        request["guidance"] = try fixture.config.number("cfg_scale", in: 0...1000)
        request["guidance_channels"] = try fixture.config.integer("cfg_channels", in: 1...1024)
        request.tensors["noise"] = .floats(try fixture.tensor("c.noise"))
        let model = try model(fixture, .diffusers)
        let (steps, result) = try GoldenDiT.sampled(model, Plan(), request)
        try report.compare("c.timesteps", integers: result.statistics.steps.map { Int($0.timestep) })
        try report.compare("c.x_steps", steps, loop)
        try report.compare("c.out", GoldenDiT.state(result), loop)
    }
}
