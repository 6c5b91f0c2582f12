import DiffAccel
import TestSupport
import Testing

@Suite struct ReproducibilityTests {
    @Test(arguments: [4, 5], [1.0, 4.0])
    func aNeutralPlanIsTheBaselineBitForBit(_ steps: Int, _ guidance: Double) throws {
        let tiny = try Tiny()
        let request = request(steps: steps, guidance: guidance)
        let plain = try tiny.session().sample(request)
        let everything = try Router(
            logits: Array(repeating: Array(repeating: 5, count: tiny.sublayers), count: steps), threshold: 0.5)
        for policy in [CachePolicy.none, .interval(every: 1), .random(ratio: 0, seed: 3), .learned(everything)] {
            let result = try tiny.session(cached(policy)).sample(request)
            #expect(sameBits(result.state, plain.state), "\(policy)")
            #expect(result.statistics.cacheBytes == 0 && result.statistics.sites.reused == 0)
            #expect(result.statistics.flops == plain.statistics.flops)
        }
    }

    @Test func aPlanThatReusesChangesTheResult() throws {
        let tiny = try Tiny()
        let plain = try tiny.session().sample(request())
        let fast = try tiny.session(cached(.alternate)).sample(request())
        #expect(Difference(fast.state, plain.state).relative > 1e-4)
        #expect(fast.statistics.flops < plain.statistics.flops)
    }

    @Test(arguments: [("ddim", 0.5), ("ddpm", 0)])
    func aSeedDecidesEveryBit(_ sampler: String, _ eta: Double) throws {
        let tiny = try Tiny()
        var request = request()
        (request["sampler"], request["eta"]) = (sampler, eta)
        let session = try tiny.session()
        let first = try session.sample(request).state
        #expect(try sameBits(session.sample(request).state, first), "the same session")
        #expect(try sameBits(tiny.session().sample(request).state, first), "another session")
        #expect(
            try sameBits(Model(tiny.path).session(Plan(), .init()).sample(request).state, first), "another load"
        )
        request["seed"] = 2
        #expect(try !sameBits(session.sample(request).state, first))
    }

    @Test func noiseOfTheCallerIsTheNoiseOfTheSeed() throws {
        let tiny = try Tiny()
        var request = request([0, 3, 5])
        let drawn = try tiny.session().sample(request).state
        var generator = TorchRandom(seed: 1)
        let run = Run(pool: nil, budget: nil)
        request.tensors["noise"] = .floats(try run.randomNormal(Shape(3, 4, 8, 8), &generator))
        request["seed"] = 999
        #expect(try sameBits(tiny.session().sample(request).state, drawn))
    }

    /// Sums are split by output element, never within one: threads change nothing. The promise is 1e-5; the bits are equal.
    @Test func threadsChangeNothing() throws {
        for width in [24, 64] {
            var dit = TinyDiT()
            (dit.width, dit.heads) = (width, 4)
            let tiny = try Tiny(dit)
            for plan in [Plan(), cached(.alternate)] {
                let one = try tiny.session(plan, threads: 1).sample(request()).state
                for threads in [2, 3] {
                    let many = try tiny.session(plan, threads: threads).sample(request()).state
                    #expect(Difference(many, one).relative < 1e-5)
                    #expect(sameBits(many, one), "width \(width), \(threads) threads")
                }
            }
        }
    }

    /// An element is computed from its own sample in one order, however many samples stand beside it.
    @Test(arguments: [24, 64, 72], [2, 4, 5, 9, 16])
    func aBatchIsItsSamplesBitForBit(_ width: Int, _ count: Int) throws {
        var dit = TinyDiT()
        (dit.width, dit.heads) = (width, 2)
        let tiny = try Tiny(dit)
        let noise = try tiny.noise(count)
        let labels = (0..<count).map { $0 % 5 }
        for (plan, guidance) in withEvery([Plan(), cached(.alternate)], [1.0, 4.0]) {
            var all = request(labels, steps: 3, guidance: guidance)
            all.tensors["noise"] = .floats(noise)
            let session = try tiny.session(plan, threads: 2)
            let batch = try #require(try session.sample(all).latents)
            for index in 0..<count {
                var one = request([labels[index]], steps: 3, guidance: guidance)
                one.tensors["noise"] = .floats(try noise.rows(index, 1))
                let (a, b) = (try batch.rows(index, 1).array, try session.sample(one).state)
                #expect(sameBits(a, b), "sample \(index) of \(count), guidance \(guidance): \(Difference(a, b))")
            }
        }
    }

    @Test func guidanceOfOneOrLessIsThePlainNetwork() throws {
        let tiny = try Tiny()
        let plain = try tiny.session().sample(request(guidance: 1))
        for guidance in [0.0, 0.5] {
            let result = try tiny.session().sample(request(guidance: guidance))
            #expect(sameBits(result.state, plain.state))
            #expect(result.statistics.flops == plain.statistics.flops)
        }
        let guided = try tiny.session().sample(request(guidance: 1.5))
        #expect(guided.statistics.flops > 1.9 * plain.statistics.flops)
        #expect(Difference(guided.state, plain.state).relative > 1e-4)
    }

    @Test func theNumberOfGuidedChannelsCounts() throws {
        let tiny = try Tiny()
        var request = request()
        let three = try tiny.session().sample(request).state
        request["guidance_channels"] = 3
        #expect(try sameBits(tiny.session().sample(request).state, three), "three is the official default")
        request["guidance_channels"] = "all"
        let all = try tiny.session().sample(request).state
        request["guidance_channels"] = 4
        #expect(try sameBits(tiny.session().sample(request).state, all) && !sameBits(all, three))
    }
}
