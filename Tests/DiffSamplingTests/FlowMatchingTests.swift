import DiffTensor
import Foundation
import TestSupport
import Testing

@testable import DiffSampling

/// Numbers of diffusers 0.42: `FlowMatchEulerDiscreteScheduler` and `FlowMatchHeunDiscreteScheduler`.
@Suite struct FlowMatchingTests {
    private static func process(_ change: (inout FlowMatching) -> Void) -> FlowMatching {
        var process = FlowMatching()
        change(&process)
        return process
    }

    private static let shifted = process { $0.shift = 3 }

    /// What is said, steps, tokens, and the levels that follow.
    private static let grids: [(FlowMatching, Int, Int, [Double])] = {
        typealias Dynamic = FlowMatching.DynamicShift
        var own = Dynamic()
        (own.base, own.most, own.baseTokens, own.mostTokens) = (0.7, 1.4, 100, 900)
        var linear = Dynamic()
        linear.isLinear = true
        return [
            (shifted, 5, 0, [1, 0.900359094, 0.751121104, 0.50298506, 0.00892857183, 0]),
            (shifted, 1, 0, [1, 0]),
            (FlowMatching(), 4, 0, [1, 0.666999996, 0.333999991, 0.00100000005, 0]),
            (process { $0.dynamicShift = Dynamic() }, 4, 1024, [1, 0.789953887, 0.484967351, 0.00187596434, 0]),
            (process { $0.dynamicShift = own }, 4, 300, [1, 0.827733338, 0.546081662, 0.00239552441, 0]),
            (process { $0.dynamicShift = linear }, 4, 1024, [1, 0.557892203, 0.24009037, 0.000630233204, 0]),
            (process { ($0.shift, $0.terminal) = (3, 0.1) }, 4, 0, [1, 0.870769203, 0.638709664, 0.100000001, 0]),
            (process { ($0.shift, $0.spread) = (3, .karras) }, 4, 0, [1, 0.286693931, 0.0625886321, 0.00892857183, 0]),
            (
                process { ($0.shift, $0.spread) = (3, .exponential) }, 4, 0,
                [1, 0.207456633, 0.0430382565, 0.00892857183, 0]
            ),
            (process { ($0.shift, $0.trainSteps) = (2, 500) }, 4, 0, [1, 0.800957322, 0.50298804, 0.00795228686, 0]),
        ]
    }()

    @Test(arguments: 0..<10)
    func levelsAreThoseOfDiffusers(_ index: Int) throws {
        let (process, steps, tokens, expected) = Self.grids[index]
        let sampler = try FlowMatchMethod.euler.sampler(process, steps: steps, tokens: tokens)
        #expect(sampler.sigmas.count == steps + 1 && sampler.sigmas.last == 0)
        for (found, wanted) in zip(sampler.sigmas, expected) {
            // One unit in the last place of single precision.
            #expect(abs(found - wanted) <= 1.2e-7 * max(wanted, 1e-3), "\(found), \(wanted)")
        }
        for (time, sigma) in zip(sampler.timesteps, sampler.sigmas) {
            #expect(abs(time - sigma * Double(process.trainSteps)) <= 1e-7 * time)
        }
    }

    /// The velocity sin 3x + σ, from one start.
    private func sampled(_ sampler: any Sampler) throws -> [Float] {
        let run = try run(sampler)
        return try sampler.sample(
            from: Tensor([0.5, -1.25, 2], Shape(1, 1, 1, 3)), noise: NoiseSource(seed: 3), networkBatch: 1, run,
            observe: { _ in },
            denoise: { (x, call, _) throws(DiffError) in
                try Tensor(x.array.map { Float(sin(Double($0) * 3)) + call.time / 1000 }, x.shape)
            }
        ).array
    }

    @Test func runsAreThoseOfDiffusers() throws {
        let euler = try sampled(FlowMatchMethod.euler.sampler(Self.shifted, steps: 4, tokens: 0))
        #expect(Difference(euler, [Float(-0.238811746), -2.55495214, 1.90256619]).absolute < 2e-6)
        let heun = try FlowMatchMethod.heun.sampler(Self.shifted, steps: 4, tokens: 0)
        #expect(heun.calls == .exactly(7) && heun.timesteps.count == 7)
        #expect(try Difference(sampled(heun), [Float(0.0900194421), -1.93842363, 2.06398129]).absolute < 2e-6)
    }

    /// On the straight way between one image and one noise the velocity is the same everywhere: every sampler ends at the image, from every
    /// evaluation it may start at.
    @Test(arguments: FlowMatchMethod.allCases, [0, 1, 2])
    func aStraightFlowIsFollowedToItsEnd(_ method: FlowMatchMethod, _ start: Int) throws {
        var numbers = Numbers(4)
        let (image, noise) = (try numbers.tensor([1, 2, 3, 5]), try numbers.tensor([1, 2, 3, 5]))
        var sampler = try method.sampler(Self.shifted, steps: 4, tokens: 0)
        let stages = sampler.calls.limit == 4 ? 1 : 2
        sampler.start(at: stages * start)
        let run = try run(sampler)
        let begin = try sampler.noised(image, noise, run)
        if start == 0 { #expect(sameBits(begin.array, noise.array)) }
        var times: [Double] = []
        let out = try sampler.sample(
            from: begin, noise: NoiseSource(seed: 1), networkBatch: 1, run,
            observe: { (progress) throws(DiffError) in
                times.append(progress.call.timestep)
                if let clean = progress.predictedClean {
                    #expect(Difference(clean.array, image.array).absolute < 1e-6)
                }
            }, denoise: { (x, _, run) throws(DiffError) in try run.combine(1, noise, -1, image) })
        #expect(Difference(out.array, image.array).absolute < 1e-6)
        #expect(times == Array(sampler.timesteps.dropFirst(stages * start)))
    }

    /// x0 + σ' (z - x0) with the seed's numbers: those of torch, of which the last step multiplies its own by 0.
    @Test func stochasticStepsDrawOncePerStep() throws {
        let process = Self.process { ($0.shift, $0.isStochastic) = (3, true) }
        let sampler = try FlowMatchMethod.euler.sampler(process, steps: 3, tokens: 0)
        #expect(sampler.draws == 3)
        let found = try sampled(sampler)
        var state: [Float] = [0.5, -1.25, 2]
        var random = TorchRandom(seed: 3)
        let run = try run(sampler)
        for step in 0..<3 {
            let (sigma, next) = (Float(sampler.sigmas[step]), Float(sampler.sigmas[step + 1]))
            let noise = try run.randomNormal(Shape(1, 1, 1, 3), &random).array
            state = zip(state, noise).map { (x, z) in
                let clean = x - sigma * (Float(sin(Double(x) * 3)) + sigma)
                return (1 - next) * clean + next * z
            }
        }
        #expect(Difference(found, state).absolute < 1e-5)
        #expect(failure { _ = try FlowMatchMethod.heun.sampler(process, steps: 3, tokens: 0) } == .unsupported)
    }

    @Test func stepsThatDoNotExistAreRefused() {
        for steps in [0, -1, 100_001] {
            #expect(
                failure { _ = try FlowMatchMethod.euler.sampler(FlowMatching(), steps: steps, tokens: 0) }
                    == .invalidArgument)
        }
    }

    @Test func namesAndClassesAreKnown() {
        for method in FlowMatchMethod.allCases {
            #expect(FlowMatchMethod(named: method.rawValue) == method)
            #expect(FlowMatchMethod(named: method.schedulerClass) == method)
        }
        #expect(FlowMatchMethod(named: "euler") == nil)
    }

    private func failure(_ body: () throws -> Void) -> DiffError.Code? {
        do { try body() } catch { return (error as? DiffError)?.code }
        return nil
    }
}
