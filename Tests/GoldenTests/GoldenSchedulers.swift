import DiffCheckpoint
import DiffSampling
import DiffTensor
import Foundation
import TestSupport

@testable import DiffAccel

/// `sd-schedulers`: every sampler with its timesteps, σ and states after each call, on a network without weights.
enum GoldenSchedulers {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try FakeDenoiser(fixture)
        report.uses("init_noise", "img2img.x0")
        try network.check(&report)
        for name in DiffusionProcess.BetaSchedule.allCases.map(\.rawValue) {
            for (key, endsInNoise) in [("alphas_cumprod.\(name)", false), ("alphas_cumprod_zsnr.\(name)", true)] {
                try alphas(key, name, endsInNoise, &report)
            }
        }
        let runs = try fixture.config.object("runs")
        for tag in runs.keys {
            try SchedulerRun(fixture, tag, runs.object(tag)).check(network, &report)
        }
    }

    private static func alphas(
        _ key: String, _ schedule: String, _ endsInNoise: Bool, _ report: inout GoldenReport
    ) throws {
        guard let kind = DiffusionProcess.BetaSchedule(rawValue: schedule) else { return report.missing(key) }
        var process = DiffusionProcess(kind, 0.00085, 0.012, trainSteps: 1000)
        (process.endsInNoise, process.prediction) = (endsInNoise, .velocity)
        try report.compare(key, process.alphasCumulative(), .absolute(2e-6))
    }
}

/// One run of the fixture.
private struct SchedulerRun {
    let fixture: GoldenFixture
    let tag: String
    let settings: JSONObject
    let sampler: any Sampler

    init(_ fixture: GoldenFixture, _ tag: String, _ settings: JSONObject) throws {
        (self.fixture, self.tag, self.settings) = (fixture, tag, settings)
        var members = try settings.object("config").members
        members["_class_name"] = .string(try settings.string("cls"))
        let file = try SchedulerFile(JSONObject(.object(members), source: tag))
        guard let entry = try file.sampler() else { throw DiffError(.format, "\(tag): no class") }
        file.account(for: entry)
        sampler = try entry.sampler(
            file.configuration(over: SchedulerConfiguration()), .count(settings.integer("steps", in: 1...1000)),
            eta: settings.number("eta", in: 0...1, default: 0))
    }

    func check(_ network: FakeDenoiser, _ report: inout GoldenReport) throws {
        let scale = try settings.number("init_noise_sigma", in: 0...1e6)
        if abs(sampler.initialNoiseScale / scale - 1) > 2e-5 {
            report.fail(tag, "initial noise scale \(sampler.initialNoiseScale), recorded \(scale)")
        }
        try tables(&report)
        if fixture.has("\(tag).latents") { try states(network, &report) }
    }

    private func tables(_ report: inout GoldenReport) throws {
        let key = "\(tag).timesteps"
        if fixture.io.info(key)?.type == .i64 {
            try report.compare(key, integers: sampler.timesteps.map { Int($0) })
        } else {
            let isCoarse = tag.contains("karras") || tag.hasPrefix("dpmpp_sde") || tag.contains("exponential")
            try report.compare(key, sampler.timesteps, .absolute(isCoarse ? 2e-3 : 1e-4))
        }
        guard fixture.has("\(tag).sigmas") else { return }
        var sigmas = sampler.sigmas
        // Where a step looks twice the reference holds each inner entry twice.
        if sampler.calls.limit == 2 * sampler.steps - 1 {
            sigmas = sigmas.indices.flatMap { i in
                Array(repeating: sigmas[i], count: i == 0 || i == sigmas.count - 1 ? 1 : 2)
            }
        }
        let recorded = try fixture.doubles("\(tag).sigmas")
        let worst = zip(sigmas, recorded).map { abs($0 - $1) / max($1, 1e-9) }.max() ?? .infinity
        report.confirm(
            "\(tag).sigmas",
            sigmas.count == recorded.count && worst < 2e-5
                ? nil : "\(sigmas.count) values, \(worst) from \(recorded.count)")
    }

    private func states(_ network: FakeDenoiser, _ report: inout GoldenReport) throws {
        let shape = try fixture.shape("init_noise")
        let run = Run(pool: nil, budget: nil)
        try run.begin(
            Opening(
                layouts: [SiteLayout(family: "none")], calls: sampler.calls.limit, steps: sampler.steps, rows: shape[0])
        )
        var sampler = sampler
        let noise = try fixture.tensor("init_noise")
        var x = try run.scaled(noise, Float(sampler.initialNoiseScale))
        if settings.has("first_index") {
            sampler.start(at: try settings.integer("first_index", in: 0...1000))
            x = try sampler.noised(fixture.tensor("img2img.x0"), noise, run)
        }
        var states = [x.array]
        _ = try sampler.sample(
            from: x, noise: try source(&report), networkBatch: shape[0], run,
            observe: { (progress) throws(DiffError) in states.append(progress.state.array) },
            denoise: { (x, call, _) throws(DiffError) in try network.prediction(x, time: Double(call.time)) })
        let key = "\(tag).latents"
        let recorded = try fixture.doubles(key)
        let size = shape.count
        var worst = states.count * size == recorded.count ? 0 : Double.infinity
        for (row, state) in states.enumerated() where worst.isFinite {
            let difference = Difference(state, Array(recorded[row * size..<(row + 1) * size]))
            worst = max(worst, difference.absolute / difference.magnitude)
        }
        let allowed = tag.contains("zsnr") ? 3e-4 : 1e-4
        report.confirm(key, worst <= allowed ? nil : "\(states.count) states, \(worst) of \(allowed)")
    }

    /// The run's noise: from its seed where torch's generator made it, else as recorded.
    private func source(_ report: inout GoldenReport) throws -> NoiseSource {
        let key = "\(tag).noise"
        guard fixture.has(key) else { return NoiseSource(seed: 0) }
        let shape = try fixture.shape(key)
        if settings.has("noise_seed") {
            let seed = UInt64(try settings.integer("noise_seed", in: 0...1 << 40))
            var generator = TorchRandom(seed: seed)
            let run = Run(pool: nil, budget: nil)
            let one = try Shape(Array(shape.dims.dropFirst()))
            let drawn = try (0..<shape[0]).flatMap { _ in try run.randomNormal(one, &generator).array }
            try report.compare(key, drawn, .absolute(1e-6))
            return NoiseSource(seed: seed)
        }
        report.uses(key)
        return NoiseSource(seed: 0, steps: try independent(fixture.tensor(key)))
    }

    /// The fixture records increments of one Brownian path over two intervals from the same beginning, [σ, σ_mid] and [σ, σ']; samplers
    /// draw those of the two parts.
    private func independent(_ noise: Tensor) throws -> Tensor {
        let (sigmas, values, size) = (sampler.sigmas, noise.array, noise.shape.count / noise.shape[0])
        var parts = values
        for step in 0..<noise.shape[0] / 2 {
            let (s, next) = (sigmas[step], sigmas[step + 1])
            let mid = (s * next).squareRoot()
            for i in 0..<size {
                let (first, all) = (Double(values[2 * step * size + i]), Double(values[(2 * step + 1) * size + i]))
                let rest = (all * (s - next).squareRoot() - first * (s - mid).squareRoot()) / (mid - next).squareRoot()
                parts[(2 * step + 1) * size + i] = Float(rest)
            }
        }
        return try Tensor(parts, noise.shape)
    }
}

/// The fixture's network: a mixture of channels and neighbours under a hyperbolic tangent.
private struct FakeDenoiser: Sendable {
    let mix: [Float], bias: [Float]
    let fixtureExample: (input: Tensor, key: String)

    init(_ fixture: GoldenFixture) throws {
        (mix, bias) = (try fixture.floats("fake.mix"), try fixture.floats("fake.bias"))
        fixtureExample = (try fixture.tensor("fake.example_in"), "fake.example_out_t523.5")
    }

    func check(_ report: inout GoldenReport) throws {
        report.uses("fake.mix", "fake.bias", "fake.example_in")
        try report.compare(fixtureExample.key, prediction(fixtureExample.input, time: 523.5), .absolute(2e-6))
    }

    func prediction(_ x: Tensor, time: Double) throws(DiffError) -> Tensor {
        let (channels, area, width) = (x.shape[1], x.shape[2] * x.shape[3], x.shape[3])
        let input = x.array.map(Double.init)
        var out = [Float](repeating: 0, count: input.count)
        for sample in 0..<x.shape[0] {
            for c in 0..<channels {
                for at in 0..<area {
                    let base = sample * channels * area
                    let neighbour = at / width * width + (at % width + 1) % width
                    var y = Double(bias[c]) + 0.3 * cos(time / 37) + 0.25 * input[base + c * area + neighbour]
                    for d in 0..<channels { y += Double(mix[c * channels + d]) * input[base + d * area + at] }
                    out[base + c * area + at] = Float((0.8 + 0.4 * time / 1000) * tanh(y))
                }
            }
        }
        return try Tensor(out, x.shape)
    }
}
