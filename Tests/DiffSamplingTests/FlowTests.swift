import DiffTensor
import Foundation
import TestSupport
import Testing

@testable import DiffSampling

@Suite struct FlowTests {
    /// dx/dt = a x + b t has a closed solution; the order of each method shows in how the error falls.
    @Test(arguments: zip(RungeKuttaMethod.allCases, [1, 2, 2, 3, 4]))
    func methodsHaveTheirOrder(_ method: RungeKuttaMethod, _ order: Int) throws {
        func error(_ points: Int) throws -> Double {
            let sampler = try FlowODESampler(method, points: points)
            let x = try Tensor([1], Shape(1, 1, 1, 1))
            let out = try sampler.sample(
                from: x, noise: NoiseSource(seed: 0), networkBatch: 1, run(sampler),
                observe: { (_) throws(DiffError) in },
                denoise: { (x, call, run) throws(DiffError) in
                    try run.combine(-2, x, 1, run.tensor([3 * call.time], x.shape))
                })
            // x(1) of x' = -2 x + 3 t, x(0) = 1
            return abs(Double(out.array[0]) - (1.75 * exp(-2) + 0.75))
        }
        let (coarse, fine) = (try error(5), try error(9))
        #expect(fine < coarse && abs(log2(coarse / fine) - Double(order)) < 0.6)
    }

    @Test func adaptiveStepsKeepTheirTolerance() throws {
        let sampler = try AdaptiveODESampler()
        let x = try Tensor([1], Shape(1, 1, 1, 1))
        let used = try run(sampler)
        let out = try sampler.sample(
            from: x, noise: NoiseSource(seed: 0), networkBatch: 1, used, observe: { (_) throws(DiffError) in },
            denoise: { (x, call, run) throws(DiffError) in
                try run.combine(-2, x, 1, run.tensor([3 * call.time], x.shape))
            })
        #expect(abs(Double(out.array[0]) - (1.75 * exp(-2) + 0.75)) < 2e-3)
        #expect(sampler.calls == .atMost(602))
    }

    /// Discontinuous slopes need ever shorter steps: the bound ends that, with the place in the message.
    @Test func aBoundEndsARunThatNeedsMoreSteps() throws {
        let sampler = try AdaptiveODESampler(maxSteps: 3)
        #expect {
            try sampler.sample(
                from: Tensor([1], Shape(1, 1, 1, 1)), noise: NoiseSource(seed: 0), networkBatch: 1, run(sampler),
                observe: { (_) throws(DiffError) in },
                denoise: { (x, call, run) throws(DiffError) in try run.scaled(x, 500 * sin(300 * call.time)) })
        } throws: {
            ($0 as? DiffError)?.code == .unsupported && ($0 as? DiffError)?.message.contains("3 steps") == true
        }
    }

    /// A dry run makes as many evaluations as there can be.
    @Test func aDryRunGivesTheBound() throws {
        let sampler = try AdaptiveODESampler(maxSteps: 4)
        let run = Run(dryOn: 1)
        try run.begin(
            SamplingContext(layouts: [SiteLayout(family: "none")], calls: sampler.calls, steps: sampler.steps, rows: 1))
        var calls = 0
        _ = try sampler.sample(
            Shape(1, 1, 2, 2), noise: NoiseSource(seed: 0), networkBatch: 1, run,
            observe: { (_) throws(DiffError) in calls += 1 },
            denoise: { (x, _, run) throws(DiffError) in try run.scaled(x, 1) })
        #expect(calls == 2 + 6 * 4)
    }

    /// v, score and noise of the same flow mean the same velocity, on every path.
    @Test(arguments: FlowPath.allCases)
    func predictionsMeanTheSame(_ path: FlowPath) throws {
        var numbers = Numbers(2)
        let (data, noise) = (try numbers.tensor([1, 1, 2, 2]), try numbers.tensor([1, 1, 2, 2]))
        let run = Run(pool: nil, budget: nil)
        for t in [0.1, 0.5, 0.9] {
            let p = path.at(t)
            let x = try run.combine(Float(p.alpha), data, Float(p.sigma), noise)
            let velocity = try run.combine(Float(p.alphaSlope), data, Float(p.sigmaSlope), noise)
            let score = try run.scaled(noise, Float(-1 / p.sigma))
            // Slopes by differences.
            #expect(abs((path.at(t + 1e-6).alpha - path.at(t - 1e-6).alpha) / 2e-6 - p.alphaSlope) < 1e-4)
            #expect(abs((path.at(t + 1e-6).sigma - path.at(t - 1e-6).sigma) / 2e-6 - p.sigmaSlope) < 1e-4)
            for (prediction, output) in [
                (FlowPrediction.velocity, velocity), (.score, score), (.noise, noise),
            ] {
                let process = FlowProcess(path: path, prediction: prediction)
                #expect(Difference(try process.velocity(x, output, t, run).array, velocity.array).relative < 1e-3)
                #expect(Difference(try process.score(x, output, t, run).array, score.array).relative < 1e-3)
            }
        }
    }
}
