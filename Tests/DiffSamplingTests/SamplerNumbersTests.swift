import DiffTensor
import Foundation
import TestSupport
import Testing

@testable import DiffSampling

@Suite struct SamplerNumbersTests {
    /// Stable Diffusion's process with what is said of it.
    private func stable(_ prediction: PredictionType = .epsilon) -> SchedulerConfiguration {
        var process = DiffusionProcess.stableDiffusion
        process.prediction = prediction
        var configuration = SchedulerConfiguration(process)
        (configuration.stepsOffset, configuration.clips) = (1, false)
        (configuration.skipsRungeKutta, configuration.endsClean) = (true, true)
        return configuration
    }

    /// If the network knows the one clean image there is, every sampler ends at it, or close by where the process ends early.
    @Test(arguments: Samplers.names, PredictionType.allCases)
    func aPerfectNetworkLeadsToItsImage(_ name: String, _ prediction: PredictionType) throws {
        let entry = try Samplers.named(name)
        guard name != "pndm" || prediction != .sample else { return }
        let sampler = try entry.sampler(stable(prediction), .count(12), eta: 0)
        var numbers = Numbers(4)
        let target = try numbers.tensor([1, 1, 4, 4])
        // These round the timestep of a level between two: the network then knows another level.
        let rounds = name.hasSuffix("karras") && (name.hasPrefix("dpmpp_2m") || name.hasPrefix("unipc"))
        let alphas = try DiffusionProcess.stableDiffusion.alphasCumulative()
        let out = try sampler.sample(
            target.shape, noise: NoiseSource(seed: 1), networkBatch: 1, run(sampler),
            observe: { (progress) throws(DiffError) in
                // LCM's images are mixed with the state, PNDM's made of v of several timesteps.
                let isPure = name != "lcm" && (name != "pndm" || prediction == .epsilon)
                if let clean = progress.predictedClean, isPure {
                    #expect(Difference(clean.array, target.array).absolute < (rounds ? 0.5 : 2e-2), "\(progress.call)")
                }
            },
            denoise: { (x, call, run) throws(DiffError) in
                // ᾱ between two timesteps as σ and grids between them have it.
                let low = min(max(0, Int(call.time)), 998)
                let part = Double(call.time) - Double(low)
                func sigma(_ i: Int) -> Double { ((1 - alphas[i]) / alphas[i]).squareRoot() }
                let isLogarithmic = name.hasSuffix("karras") || name == "dpmpp_sde"
                let s =
                    isLogarithmic
                    ? exp(log(sigma(low)) * (1 - part) + log(sigma(low + 1)) * part)
                    : sigma(low) * (1 - part) + sigma(low + 1) * part
                let a = 1 / (1 + s * s)
                let (root, rest) = (a.squareRoot(), (1 - a).squareRoot())
                switch prediction {
                case .epsilon: return try run.combine(Float(1 / rest), x, Float(-root / rest), target)
                // v = √ᾱ ε - √(1 - ᾱ) x0
                case .velocity: return try run.combine(Float(root / rest), x, Float(-1 / rest), target)
                case .sample: return target
                }
            })
        #expect(Difference(out.array, target.array).absolute < 0.06)
    }

    /// Numbers of timesteps, evaluations and levels of every sampler and spacing, for every count of steps.
    @Test(arguments: Samplers.names, SchedulerSpacing.allCases)
    func tablesHaveTheirLength(_ name: String, _ spacing: SchedulerSpacing) throws {
        let entry = try Samplers.named(name)
        var configuration = stable()
        configuration.spacing = spacing
        for steps in [1, 2, 3, 7, 16, 50, 61, 103, 121, 500] where name != "lcm" || steps <= 50 {
            let sampler = try entry.sampler(configuration, .count(steps), eta: 0)
            let calls = sampler.calls.limit
            #expect(sampler.steps == steps && sampler.timesteps.count == calls, "\(steps)")
            #expect(sampler.timesteps.allSatisfy { $0 >= 0 && $0 <= 999 }, "\(steps)")
            #expect(sampler.sigmas.isEmpty || sampler.sigmas.count == steps + 1)
            #expect(sampler.sigmas.isEmpty || zip(sampler.sigmas, sampler.sigmas.dropFirst()).allSatisfy { $0 >= $1 })
            #expect(sampler.initialNoiseScale > 0)
            // What the run makes of it: one evaluation after the other, as the table says.
            var run = sampler
            var seen: [Double] = []
            for call in 0..<calls {
                run.start(at: call)
                seen.append(try #require(run.call).timestep)
            }
            run.start(at: calls)
            #expect(seen == sampler.timesteps && run.call == nil)
        }
    }

    @Test(arguments: Samplers.names)
    func stepsThatDoNotExistAreRefused(_ name: String) throws {
        for steps in [0, -1, 1001, Int.max] {
            #expect { try Samplers.named(name).sampler(stable(), .count(steps), eta: 0) } throws: {
                ($0 as? DiffError)?.code == .invalidArgument
            }
        }
    }

    @Test func whatASamplerDoesNotHaveIsRefusedByName() throws {
        var noise = stable(.velocity)
        noise.endsInNoise = true
        var clips = stable()
        clips.clips = true
        for entry in Samplers.all {
            for (configuration, isThere, key) in [
                (noise, entry.startsInNoise, "rescale_betas_zero_snr"), (clips, entry.clips, "clip_sample"),
            ] {
                do {
                    _ = try entry.sampler(configuration, .count(5), eta: 0)
                    #expect(isThere, "\(entry.name)")
                } catch {
                    #expect(!isThere && error.code == .unsupported, "\(entry.name): \(error)")
                    #expect(error.message.contains(key) && error.message.contains("ddim"))
                }
            }
            #expect(throws: Never.self) { try entry.sampler(stable(), .count(5), eta: 0) }
            if entry.name != "ddim" {
                #expect(throws: DiffError.self) { try entry.sampler(stable(), .count(5), eta: 0.5) }
            }
        }
    }

    @Test func classesOfDiffusersAreNames() throws {
        for entry in Samplers.all {
            #expect(try Samplers.named(entry.schedulerClass).schedulerClass == entry.schedulerClass)
        }
        var configuration = stable()
        #expect(Samplers.of(class: "DPMSolverMultistepScheduler", configuration)?.name == "dpmpp_2m")
        configuration.algorithm = .stochastic
        #expect(Samplers.of(class: "DPMSolverMultistepScheduler", configuration)?.name == "dpmpp_2m_sde")
        configuration.usesKarrasSigmas = true
        #expect(Samplers.of(class: "DPMSolverMultistepScheduler", configuration)?.name == "dpmpp_2m_sde")
        #expect(Samplers.of(class: "NoScheduler", configuration) == nil)
    }

    /// The same run from a seed and from the noise it draws, for every sampler that draws.
    @Test(arguments: Samplers.names)
    func noiseOfTheCallerIsTheNoiseOfTheSeed(_ name: String) throws {
        let sampler = try Samplers.named(name).sampler(stable(), .count(6), eta: name == "ddim" ? 1 : 0)
        guard sampler.draws > 0 else { return }
        let shape = try Shape(1, 2, 4, 4)
        var generator = TorchRandom(seed: 5)
        let start = try Run(pool: nil, budget: nil).randomNormal(shape, &generator)
        var draws: [Float] = []
        for _ in 0..<sampler.draws {
            draws += try Run(pool: nil, budget: nil).randomNormal(shape, &generator).array
        }
        let steps = try Tensor(draws, Shape([sampler.draws, 1, 2, 4, 4]))
        func sample(_ noise: NoiseSource) throws -> [Float] {
            try sampler.sample(
                shape, noise: noise, networkBatch: 1, run(sampler), observe: { (_) throws(DiffError) in },
                denoise: { (x, _, run) throws(DiffError) in try run.scaled(x, 0.3) }
            ).array
        }
        #expect(try sameBits(sample(NoiseSource(seed: 5)), sample(NoiseSource(seed: 0, start: start, steps: steps))))
    }
}

@Suite struct SinglestepTests {
    /// Check values of U-ViT's schedule.
    @Test func theCurveHasTheKnownValues() throws {
        let curve = try NoiseCurve(.stableDiffusion)
        #expect(abs(curve.lambda(1) + 2.682_024_24) < 1e-5 && abs(curve.lambda(0.001) - 3.534_699_2) < 1e-4)
        for time in [0.001, 0.0013, 0.25, 0.5005, 0.9999, 1] {
            #expect(abs(curve.time(ofLambda: curve.lambda(time)) - time) < 1e-9)
        }
    }

    @Test func evaluationsStandWhereUViTMakesThem() throws {
        let sampler = try DPMSolverSinglestepSampler(.stableDiffusion, evaluations: 20)
        #expect(sampler.steps == 10 && sampler.calls == .exactly(20))
        let ends = stride(from: 0, to: 20, by: 2).map { sampler.timesteps[$0] }
        for (found, wanted) in zip(ends, [1000, 900.1, 800.2]) { #expect(abs(found - wanted) < 1e-3) }
        #expect(abs(ends[9] - 100.9) < 1e-3)
        let middles = [
            951.842, 851.928, 751.899, 651.715, 551.349, 450.776, 349.919, 248.499, 145.233, 11.399,
        ]
        for (index, wanted) in middles.enumerated() { #expect(abs(sampler.timesteps[2 * index + 1] - wanted) < 2e-3) }
        let fifty = try DPMSolverSinglestepSampler(.stableDiffusion, evaluations: 51)
        #expect(fifty.steps == 25 && abs(fifty.timesteps[1] - 980.305) < 2e-3)
        #expect(throws: DiffError.self) { try DPMSolverSinglestepSampler(.stableDiffusion, evaluations: 1) }
    }

    /// Against the algorithm as published, in double precision: the first prediction cancels.
    @Test func aStepFollowsTheFormulas() throws {
        let curve = try NoiseCurve(.stableDiffusion)
        var sampler = try DPMSolverSinglestepSampler(.stableDiffusion, evaluations: 8)
        let run = Run(pool: nil, budget: nil)
        var numbers = Numbers(9)
        let (x, first, second) = (
            try numbers.tensor([1, 1, 2, 2]), try numbers.tensor([1, 1, 2, 2]), try numbers.tensor([1, 1, 2, 2])
        )
        func none() throws(DiffError) -> Tensor { x }
        let (s, t) = (1.0, 1 + 0.25 * (0.001 - 1))
        let (from, to) = (curve.lambda(s), curve.lambda(t))
        let h = to - from
        let middle = curve.lambda(curve.time(ofLambda: from + h / 2))
        func alpha(_ l: Double) -> Double { 1 / (1 + exp(-2 * l)).squareRoot() }
        func deviation(_ l: Double) -> Double { alpha(l) * exp(-l) }
        let (a, e1, e2) = (x.array.map(Double.init), first.array.map(Double.init), second.array.map(Double.init))
        let u = try sampler.step(x, first, run, draw: none).state
        let result = try sampler.step(u, second, run, draw: none).state
        for i in a.indices {
            let m = (a[i] - deviation(from) * e1[i]) / alpha(from)
            let ui = deviation(middle) / deviation(from) * a[i] - alpha(middle) * expm1(-h / 2) * m
            #expect(abs(Double(u.array[i]) - ui) < 1e-5 * max(1, abs(ui)))
            let mm = (ui - deviation(middle) * e2[i]) / alpha(middle)
            let xi =
                deviation(to) / deviation(from) * a[i] - alpha(to) * expm1(-h) * m
                - alpha(to) * expm1(-h) * (mm - m)
            #expect(abs(Double(result.array[i]) - xi) < 2e-5 * max(1, abs(xi)))
        }
    }
}
