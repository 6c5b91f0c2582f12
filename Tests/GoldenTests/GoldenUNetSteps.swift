import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import Foundation
import TestSupport

/// Guided predictions of U-Nets along recorded trajectories: each from the recorded state, so that no solver has a part in them.
enum GoldenUNetSteps {
    /// NOTES.md: latents and predictions.
    static let steps = GoldenTolerance.absolute(1e-3)

    /// A network, and rows of its two halves in the order of the batch: negative, positive.
    private struct Guided {
        let network: UNet
        let run: Run
        let prepared: PreparedConditioning
        let scale: Float

        init(_ network: UNet, _ negative: Conditioning?, _ positive: Conditioning, scale: Double) throws {
            (self.network, self.scale) = (network, Float(scale))
            run = Run(pool: try WorkerPool(threads: 2), budget: nil)
            var all = positive
            if let negative {
                all.states = try GoldenUNetSteps.rows(negative.states, positive.states)
                if let a = negative.pooled, let b = positive.pooled { all.pooled = try GoldenUNetSteps.rows(a, b) }
                if let a = negative.sizes, let b = positive.sizes { all.sizes = try GoldenUNetSteps.rows(a, b) }
            }
            prepared = try network.prepare(all, run)
        }

        /// u + g (c - u) for `x` divided by `divisor`.
        func callAsFunction(_ x: [Float], _ shape: Shape, t: Double, divisor: Double) throws -> [Float] {
            let one = try Tensor(x.map { $0 / Float(divisor) }, shape)
            let isGuided = prepared.samples == 2 * shape[0]
            let input = isGuided ? try run.doubled(one) : one
            let out = try network(input, t: run.filled(input.shape[0], with: Float(t)), prepared, run).array
            guard isGuided else { return out }
            return (0..<x.count).map { out[$0] + scale * (out[x.count + $0] - out[$0]) }
        }
    }

    fileprivate static func rows(_ a: Tensor, _ b: Tensor) throws(DiffError) -> Tensor {
        try Tensor(a.array + b.array, a.shape.replacingFirst(a.shape[0] + b.shape[0]))
    }

    /// Compares the predictions `name.pred` at the states `name.latents`.
    private static func compare(
        _ name: String, _ times: [Double], sigmas: [Double]?, _ guided: Guided, _ fixture: GoldenFixture,
        _ report: inout GoldenReport
    ) throws {
        report.uses("\(name).latents")
        let latents = try fixture.floats("\(name).latents")
        let all = try fixture.shape("\(name).latents")
        let shape = try Shape(1, all[1], all[2], all[3])
        var predictions: [Float] = []
        for (call, time) in times.enumerated() {
            let x = Array(latents[call * shape.count..<(call + 1) * shape.count])
            let divisor = sigmas.map { ($0[call] * $0[call] + 1).squareRoot() } ?? 1
            predictions += try guided(x, shape, t: time, divisor: divisor)
        }
        try report.compare("\(name).pred", predictions, steps)
    }

    private static func conditioning(_ fixture: GoldenFixture, _ prefix: String, sizes: [Float]?) throws -> Conditioning
    {
        var conditioning = Conditioning(states: try fixture.tensor("\(prefix)prompt_embeds"))
        if let sizes {
            conditioning.pooled = try fixture.tensor("\(prefix)pooled_prompt_embeds")
            conditioning.sizes = try Tensor(sizes, Shape(1, sizes.count))
        }
        return conditioning
    }

    /// `asyncdiff-sd15`, `-sd21`, `-sdxl`: the plain run, which every other one begins with.
    static func asyncDiff(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try UNet(UNetConfiguration(fixture.config.object("model")), fixture.checkpoint().weights())
        for key in fixture.keys("") where key.hasSuffix("prompt_embeds") { report.uses(key) }
        let shape = try fixture.shape("sequential.latents")
        let (h, w) = (Float(8 * shape[2]), Float(8 * shape[3]))
        let sizes = network.takesSizes ? [h, w, 0, 0, h, w] : nil
        let guided = try Guided(
            network, conditioning(fixture, "negative_", sizes: sizes), conditioning(fixture, "", sizes: sizes),
            scale: fixture.config.number("guidance_scale", in: 0...100))
        // DDIM, leading, with an offset.
        let count = try fixture.config.integer("num_inference_steps", in: 1...1000)
        let times = (0..<count).map { Double((count - 1 - $0) * (1000 / count) + 1) }
        try compare("sequential", times, sigmas: nil, guided, fixture, &report)
        try GoldenAsyncDiff.check(fixture, &report)
    }

    /// `sd-sampling`: the predictions of all schedulers.
    static func sampling(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let network = try UNet(UNetConfiguration(fixture.config.object("unet")), fixture.checkpoint().weights())
        report.uses("prompt_embeds", "negative_prompt_embeds", "init_noise")
        let guided = try Guided(
            network, conditioning(fixture, "negative_", sizes: nil), conditioning(fixture, "", sizes: nil),
            scale: fixture.config.number("guidance_scale", in: 0...100))
        for key in fixture.keys("") where key.hasSuffix(".pred") {
            let name = String(key.dropLast(".pred".count))
            let isScaled = name.hasPrefix("euler")
            report.uses("\(name).timesteps", "\(name).init_noise_sigma", "\(name).sigmas")
            try compare(
                name, fixture.doubles("\(name).timesteps"), sigmas: isScaled ? fixture.doubles("\(name).sigmas") : nil,
                guided, fixture, &report)
        }
        for prefix in ["tables50.", "alphas_cumprod", "torch_randn."] {
            report.leaves(prefix, because: "tables and noise have checks of their own")
        }
    }

    /// `sdxl-e2e`: each step of Euler's method from the recorded state before it.
    static func pipeline(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try Checkpoint.open(path: "\(fixture.path)/model/unet")
        let network = try UNet(UNetConfiguration(checkpoint.configuration), checkpoint.weights())
        for entry in try fixture.config.objects("runs") {
            let (name, arguments) = (try entry.string("name"), try entry.object("kw"))
            let scale = try arguments.number("guidance_scale", in: 0...100)
            func read(_ prefix: String, _ sizes: String) throws -> Conditioning {
                var conditioning = Conditioning(states: try fixture.tensor("\(name).\(prefix)prompt_embeds"))
                conditioning.pooled = try fixture.tensor("\(name).\(prefix)pooled_prompt_embeds")
                let one = try fixture.floats("\(name).\(sizes)")
                let batch = conditioning.states.shape[0]
                conditioning.sizes = try Tensor(
                    Array(repeating: one.prefix(6), count: batch).flatMap { $0 }, Shape(batch, 6))
                return conditioning
            }
            let negativeSizes = fixture.has("\(name).negative_time_ids") ? "negative_time_ids" : "time_ids"
            let guided = try Guided(
                network, scale > 1 ? read("negative_", negativeSizes) : nil, read("", "time_ids"), scale: scale)
            let (times, sigmas) = (try fixture.doubles("\(name).timesteps"), try fixture.doubles("\(name).sigmas"))
            let shape = try fixture.shape("\(name).init_latents")
            let recorded = try fixture.floats("\(name).latents")
            var (x, states): ([Float], [Float]) = (try fixture.floats("\(name).init_latents"), [])
            for (step, time) in times.enumerated() {
                let divisor = (sigmas[step] * sigmas[step] + 1).squareRoot()
                let noise = try guided(x, shape, t: time, divisor: divisor)
                let width = Float(sigmas[step + 1] - sigmas[step])
                states += zip(x, noise).map { $0 + width * $1 }
                x = Array(recorded[step * shape.count..<(step + 1) * shape.count])
            }
            for key in fixture.keys("\(name).") { report.uses(key) }
            try report.compare("\(name).latents", states, steps)
        }
    }
}
