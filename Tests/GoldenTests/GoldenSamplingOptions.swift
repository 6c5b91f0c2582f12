import DiffAccel
import DiffCheckpoint
import DiffSampling
import DiffTensor

/// The sampling options of one case, as the fixture's config tells them.
struct GoldenSamplingOptions {
    let process: DiffusionProcess
    /// As ``SampleRequest/spacing``.
    let spacing: String
    let steps: Int
    let eta: Double
    let sampler: String
    let scale: Double
    let channels: Int

    init(_ fixture: GoldenFixture, _ name: String) throws(DiffError) {
        let settings = try fixture.config.object(name)
        let diffusion = try fixture.config.object("diffusion")
        var process = DiffusionProcess.dit
        let schedule = try diffusion.string("schedule", default: process.betaSchedule.rawValue)
        guard let kind = DiffusionProcess.BetaSchedule(rawValue: schedule) else {
            throw DiffError(.unsupported, "schedule \(schedule)")
        }
        process.betaSchedule = kind
        process.betaStart = try diffusion.number("beta_start", in: 0...1, default: process.betaStart)
        process.betaEnd = try diffusion.number("beta_end", in: 0...1, default: process.betaEnd)
        process.trainSteps = try diffusion.integer("train_steps", in: 1...1_000_000, default: process.trainSteps)
        self.process = process
        // The config's respacing is that of the main case; cases with another number of steps are spaced evenly.
        let respacing = try diffusion.string("respacing", default: "")
        steps = try settings.integer("steps", in: 1...100_000)
        if respacing == "ddim\(steps)" {
            spacing = "strided"
        } else if respacing.contains(","),
            respacing.split(separator: ",").reduce(0, { $0 + (Int($1) ?? 0) }) == steps
        {
            spacing = respacing
        } else {
            spacing = "even"
        }
        eta = try settings.number("eta", in: 0...1, default: 0)
        sampler = try settings.string("sampler", default: "ddim")
        scale = try fixture.config.number("cfg_scale", in: 0...1000)
        channels = try fixture.config.integer("cfg_channels", in: 1...1024)
        guard try diffusion.bool("clip_denoised", default: false) == false else {
            throw DiffError(.unsupported, "clip_denoised")
        }
    }

    var timestepSpacing: TimestepSpacing {
        switch spacing {
        case "even": .even([steps])
        case "strided": .strided(steps)
        default: .even(spacing.split(separator: ",").map { Int($0) ?? 0 })
        }
    }

    /// The request that means this case, with the fixture's start noise.
    func request(_ fixture: GoldenFixture, guided: Bool) throws -> SampleRequest {
        var request = SampleRequest(["labels": (try fixture.integers("c.y")).json])
        request["sampler"] = sampler
        request["steps"] = steps
        request["spacing"] = spacing
        request["eta"] = eta
        request["guidance"] = guided ? scale : 1
        request["guidance_channels"] = channels
        request.tensors["noise"] = .floats(try fixture.tensor("c.noise"))
        return request
    }
}
