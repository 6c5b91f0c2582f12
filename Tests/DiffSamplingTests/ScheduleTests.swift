import DiffSampling
import DiffTensor
import Foundation
import TestSupport
import Testing

@Suite struct ScheduleTests {
    private func schedule(_ steps: Int) throws -> DiffusionSchedule { try DiffusionSchedule(.dit, .even([steps])) }

    /// Check values given to ten digits.
    @Test func theFullProcessHasTheKnownAlphas() throws {
        let full = try schedule(1000)
        #expect(abs(full.alphasCumulative[0] - 0.9999) < 1e-12)
        #expect(abs(full.alphasCumulative[499] - 0.07858724288) < 1e-10)
        #expect(abs(full.alphasCumulative[999] - 4.035829765e-5) < 1e-13)
        #expect(full.timesteps == Array(0..<1000) && full.count == 1000)
        #expect(abs(full.betas[0] - 1e-4) < 1e-12 && abs(full.betas[999] - 0.02) < 1e-9)
    }

    @Test func twentyStepsHaveTheKnownTables() throws {
        let s = try schedule(20)
        #expect(abs(s.betas[0] - 1e-4) < 1e-12 && abs(s.betas[1] - 0.0332531965) < 1e-9)
        #expect(abs(s.betas[19] - 0.6475137270) < 1e-9)
        #expect(
            abs(s.posteriorLogVariance[0] + 9.21324338) < 1e-8 && s.posteriorLogVariance[0] == s.posteriorLogVariance[1]
        )
        #expect(abs(s.posteriorLogVariance[19] + 0.43468943) < 1e-8)
    }

    @Test(arguments: [1, 2, 7, 50])
    func tablesAgreeWithEachOther(_ steps: Int) throws {
        let s = try schedule(steps)
        for i in 0..<steps {
            let before = i == 0 ? 1 : s.alphasCumulative[i - 1]
            #expect(s.alphasCumulativePrevious[i] == before)
            #expect(abs(s.alphasCumulative[i] - before * (1 - s.betas[i])) < 1e-12)
            // A clean image without noise stays itself: k0 x̂0 + k1 √ᾱ x̂0 = √ᾱ' x̂0.
            let mean = s.posteriorMean0[i] + s.posteriorMean1[i] * s.alphasCumulative[i].squareRoot()
            #expect(abs(mean - before.squareRoot()) < 1e-9)
        }
    }

    @Test func oneStepHasTablesWithoutAPosterior() throws {
        let s = try schedule(1)
        #expect(s.timesteps == [0] && s.posteriorMean0 == [1] && s.posteriorMean1 == [0])
    }

    @Test(arguments: [
        (0.0, 0.02, 1000), (1e-4, 1.0, 1000), (0.02, 1e-4, 1000), (1e-4, 0.02, 0), (.nan, 0.02, 10), (1e-4, .nan, 10),
    ])
    func processesThatDoNotExistAreRefused(_ start: Double, _ end: Double, _ steps: Int) {
        #expect {
            try DiffusionSchedule(DiffusionProcess(.linear, start, end, trainSteps: steps), .even([1]))
        } throws: {
            ($0 as? DiffError)?.code == .invalidArgument
        }
    }

    @Test func theScaledScheduleIsLinearInTheRoots() throws {
        let process = DiffusionProcess(.scaledLinear, 0.00085, 0.012, trainSteps: 1000)
        let s = try DiffusionSchedule(process, .even([1000]))
        // Stable Diffusion's ᾱ of its last step.
        #expect(abs(s.alphasCumulative[999] - 0.0046600) < 1e-6)
        let middle = s.betas[500].squareRoot()
        let expected = 0.00085.squareRoot() + (0.012.squareRoot() - 0.00085.squareRoot()) * 500 / 999
        #expect(abs(middle - expected) < 1e-9)
    }
}

@Suite struct StepTests {
    private let shape = [2, 3, 2, 2]

    /// One step in double precision, from the formulas of DDIM and DDPM.
    private func reference(
        _ s: DiffusionSchedule, _ i: Int, eta: Double?, x: [Double], e: [Double], v: [Double], z: [Double]
    ) -> (state: [Double], clean: [Double]) {
        let (a, before) = (s.alphasCumulative[i], s.alphasCumulativePrevious[i])
        let clean = zip(x, e).map { ($0 - (1 - a).squareRoot() * $1) / a.squareRoot() }
        if let eta {
            let sigma = eta * ((1 - before) / (1 - a)).squareRoot() * (1 - a / before).squareRoot()
            let direction = max(0, 1 - before - sigma * sigma).squareRoot()
            let noise = i == 0 ? 0 : sigma
            return (x.indices.map { before.squareRoot() * clean[$0] + direction * e[$0] + noise * z[$0] }, clean)
        }
        let states = x.indices.map {
            let w = (v[$0] + 1) / 2
            let log = w * Foundation.log(s.betas[i]) + (1 - w) * s.posteriorLogVariance[i]
            return s.posteriorMean0[i] * clean[$0] + s.posteriorMean1[i] * x[$0] + (i == 0 ? 0 : exp(0.5 * log) * z[$0])
        }
        return (states, clean)
    }

    /// The step at `index` of DDIM, or of DDPM where there is no eta.
    private func step(
        _ s: DiffusionSchedule, _ index: Int, eta: Double?, _ x: Tensor, _ output: Tensor, _ noise: Tensor
    ) throws -> (state: [Float], clean: [Float]) {
        var sampler: any Sampler = DDPMSampler(s)
        if let eta { sampler = try DDIMSampler(s, eta: eta) }
        sampler.start(at: s.count - 1 - index)
        let result = try sampler.step(x, output, Run(pool: nil, budget: nil)) { () throws(DiffError) in noise }
        return (result.state.array, try #require(result.predictedClean).array)
    }

    /// x̂0 of the noisiest step is a difference of numbers 150 times its size: float32 keeps 2e-5 of it.
    @Test(arguments: [0, 0.5, 1, nil] as [Double?], [0, 1, 3, 6])
    func aStepFollowsTheFormulas(_ eta: Double?, _ index: Int) throws {
        let s = try DiffusionSchedule(.dit, .even([7]))
        var numbers = Numbers(UInt64(index))
        let x = try numbers.tensor(shape)
        let prediction = try numbers.tensor([2, 6, 2, 2])
        let noise = try numbers.tensor(shape)
        let run = Run(pool: nil, budget: nil)
        let e = try run.channels(prediction, 0, 3)
        let v = try run.channels(prediction, 3, 3)
        let (state, clean) = reference(
            s, index, eta: eta, x: x.array.map(Double.init), e: e.array.map(Double.init),
            v: v.array.map(Double.init), z: noise.array.map(Double.init))
        let result = try step(s, index, eta: eta, x, prediction, noise)
        #expect(Difference(result.clean, clean).relative < 2e-5)
        #expect(Difference(result.state, state).relative < 5e-5)
        guard eta != nil else { return }
        let again = try step(s, index, eta: eta, x, e, noise)
        #expect(sameBits(again.state, result.state), "variance channels do not matter to DDIM")
    }

    @Test func theLastStepOfDDIMIsTheCleanImage() throws {
        let s = try DiffusionSchedule(.dit, .even([7]))
        var numbers = Numbers(3)
        let result = try step(s, 0, eta: 1, numbers.tensor(shape), numbers.tensor(shape), numbers.tensor(shape))
        #expect(result.state == result.clean)
    }

    @Test func ancestralSamplingNeedsAVariance() throws {
        let s = try DiffusionSchedule(.dit, .even([7]))
        var numbers = Numbers(3)
        let x = try numbers.tensor(shape)
        #expect(DDPMSampler(s).needsVariance)
        #expect { try step(s, 3, eta: nil, x, x, x) } throws: { ($0 as? DiffError)?.code == .unsupported }
    }
}

@Suite struct SamplerTests {
    private func run(calls: Int) throws -> Run {
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [SiteLayout(family: "none")], calls: calls, rows: 2))
        return run
    }

    /// If the network knows the true noise of one clean image, deterministic sampling ends at that image.
    @Test(arguments: [1, 2, 5, 20])
    func aPerfectDenoiserLeadsToItsImage(_ steps: Int) throws {
        let schedule = try DiffusionSchedule(.dit, .even([steps]))
        let sampler = try DDIMSampler(schedule)
        var numbers = Numbers(4)
        let (target, noise) = (try numbers.tensor([2, 1, 3, 3]), try numbers.tensor([2, 1, 3, 3]))
        var timesteps: [Int] = []
        let out = try sampler.sample(
            noise.shape, noise: NoiseSource(seed: 0, start: noise), networkBatch: 2, run(calls: steps),
            observe: { (progress) throws(DiffError) in timesteps.append(Int(progress.call.timestep)) },
            denoise: { (x, call, run) throws(DiffError) in
                let a = schedule.alphasCumulative[schedule.timesteps.firstIndex(of: Int(call.time)) ?? 0]
                let root = (1 - a).squareRoot()
                return try run.combine(Float(1 / root), x, Float(-a.squareRoot() / root), target)
            })
        #expect(timesteps == schedule.timesteps.reversed())
        // At ᾱ = 0.9999 the noise is a hundredth of the difference: rounding of x counts a hundred times there.
        #expect(Difference(out.array, target.array).absolute < 1e-4)
    }

    @Test func noiseOfStepsIsDrawnForTheWholeBatchAndHalved() throws {
        let shape = try Shape(2, 4, 2, 2)
        let schedule = try DiffusionSchedule(.dit, .even([3]))
        func sample(_ noise: NoiseSource, batch: Int) throws -> [Float] {
            try DDIMSampler(schedule, eta: 1).sample(
                shape, noise: noise, networkBatch: batch, run(calls: 3), observe: { (_) throws(DiffError) in },
                denoise: { (x, _, run) throws(DiffError) in try run.combine(0.5, x, 0, x) }
            ).array
        }
        // The same by hand: the start for two samples, then four samples in every step, the first two used.
        var generator = TorchRandom(seed: 11)
        func draw(_ count: Int) -> [Float] {
            var values = [Float](repeating: 0, count: count)
            values.withUnsafeMutableBufferPointer { generator.normal($0.baseAddress!, count: count) }
            return values
        }
        let start = try Tensor(draw(32), shape)
        let steps = try Tensor((0..<3).flatMap { _ in Array(draw(64)[..<32]) }, Shape([3, 2, 4, 2, 2]))
        #expect(
            try sameBits(
                sample(NoiseSource(seed: 11), batch: 4),
                sample(NoiseSource(seed: 0, start: start, steps: steps), batch: 4)))
        #expect(try !sameBits(sample(NoiseSource(seed: 11), batch: 4), sample(NoiseSource(seed: 11), batch: 2)))
    }

    @Test func noiseOfAnotherShapeIsRefused() throws {
        let sampler = try DDIMSampler(DiffusionSchedule(.dit, .even([2])), eta: 1)
        var numbers = Numbers(4)
        let (start, steps) = (try numbers.tensor([2, 1, 2, 2]), try numbers.tensor([1, 2, 1, 2, 2]))
        for noise in [NoiseSource(seed: 0, start: steps), NoiseSource(seed: 0, start: start, steps: steps)] {
            #expect {
                try sampler.sample(
                    Shape(2, 1, 2, 2), noise: noise, networkBatch: 2, run(calls: 2),
                    observe: { (_) throws(DiffError) in },
                    denoise: { (x, _, _) throws(DiffError) in x })
            } throws: { ($0 as? DiffError)?.code == .shape }
        }
    }

    @Test func anObserverCanStop() throws {
        let sampler = try DDIMSampler(DiffusionSchedule(.dit, .even([5])))
        var seen = 0
        #expect {
            try sampler.sample(
                Shape(1, 1, 2, 2), noise: NoiseSource(seed: 0), networkBatch: 1, run(calls: 5),
                observe: { (progress) throws(DiffError) in
                    seen += 1
                    if progress.index == 2 { throw .cancelled }
                }, denoise: { (x, _, _) throws(DiffError) in x })
        } throws: { ($0 as? DiffError) == .cancelled }
        #expect(seen == 3)
    }

    @Test(arguments: [-0.1, 1.1, .nan, .infinity])
    func etaIsBetween0And1(_ eta: Double) throws {
        let schedule = try DiffusionSchedule(.dit, .even([2]))
        #expect { try DDIMSampler(schedule, eta: eta) } throws: {
            ($0 as? DiffError)?.code == .invalidArgument
        }
    }
}
