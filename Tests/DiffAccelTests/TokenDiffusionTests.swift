import DiffAccel
import DiffCheckpoint
import DiffModels
import TestSupport
import Testing

@Suite struct TokenDiffusionSamplingTests {
    private struct Subject {
        let directory: ScratchDirectory
        let model: Model

        init(_ tiny: TinyMAR = TinyMAR(), config: JSON? = nil, decoder: Bool = true) throws {
            directory = try ScratchDirectory()
            model = try Model(tiny.write(directory, config: config, decoder: decoder))
        }

        func session(_ plan: Plan = Plan(), threads: Int = 1, memoryLimit: Int = 0) throws -> Session {
            var options = SessionOptions()
            (options.threads, options.memoryLimit) = (threads, memoryLimit)
            return try model.session(plan, options)
        }
    }

    private func request(_ labels: [Int] = [0, 3], seed: UInt64 = 1) -> SampleRequest {
        var request = SampleRequest(["labels": labels.json])
        request["seed"] = seed
        return request
    }

    @Test func samplesPicturesStepByStep() throws {
        let subject = try Subject()
        var asked = request()
        asked["previews"] = true
        var left: [Double?] = []
        var preview: [UInt8] = []
        let result = try subject.session().sample(asked) { event in
            guard event.stage == .unmask else { return .continue }
            left.append(event.timestep)
            event.preview?.withBytes { preview = Array($0) }
            return .continue
        }
        #expect(left == [8, 6, 3, 0] && result.statistics.sampler == "mar")
        #expect(result.latents?.shape.dims == [2, 4, 3, 3] && result.pixels?.shape.dims == [2, 3, 6, 6])
        result.images?.withBytes { #expect(Array($0) == preview, "the last preview is the picture") }
        #expect(try subject.session().sample(request()).statistics.allocationsAfterFirstStep == 0)
        #expect(result.state.allSatisfy { $0.isFinite })
    }

    @Test func aSeedDecidesEveryBit() throws {
        let subject = try Subject()
        let first = try subject.session().sample(request()).state
        for threads in [1, 2, 3] {
            #expect(try sameBits(subject.session(threads: threads).sample(request()).state, first))
        }
        #expect(try !sameBits(subject.session().sample(request(seed: 2)).state, first))
        var other = request()
        other["order"] = "numpy"
        #expect(try !sameBits(subject.session().sample(other).state, first))
    }

    @Test func whatIsGivenReplacesTheSeed() throws {
        let subject = try Subject()
        var numbers = Numbers(4)
        let (noise, steps) = (try numbers.tensor([2, 4, 3, 3]), try numbers.tensor([5, 2, 4, 3, 3]))
        let orders = [[0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 0, 7, 1, 6, 2, 5, 3, 4]]
        func given(_ samples: [Int], seed: UInt64) throws -> SampleRequest {
            var asked = request(samples.map { [2, 5][$0] }, seed: seed)
            asked.tensors["order"] = .integers(samples.flatMap { orders[$0] }, try Shape(samples.count, 9))
            let run = Run(pool: nil, budget: nil)
            let (first, count) = (samples[0], samples.count)
            let part = try run.copy(run.tokens(steps.reshaped(Shape(5, 2, 36)), first, count))
            asked.tensors["noise"] = .floats(try noise.rows(first, count))
            asked.tensors["step_noise"] = .floats(try part.reshaped(Shape([5, count, 4, 3, 3])))
            return asked
        }
        let both = try subject.session().sample(given([0, 1], seed: 1)).state
        #expect(try sameBits(subject.session().sample(given([0, 1], seed: 9)).state, both))
        for sample in 0..<2 {
            let one = try subject.session().sample(given([sample], seed: 3)).state
            #expect(sameBits(one, Array(both[36 * sample..<36 * sample + 36])), "a batch is its samples")
        }
    }

    @Test func guidanceOfOneIsThePlainNetworkAndTemperatureOfZeroHasNoNoise() throws {
        let subject = try Subject()
        var asked = request()
        asked["guidance"] = 1.0
        let plain = try subject.session().sample(asked)
        #expect(try plain.statistics.flops < subject.session().sample(request()).statistics.flops * 0.6)
        asked["guidance_schedule"] = "constant"
        #expect(try sameBits(subject.session().sample(asked).state, plain.state))
        asked["guidance"] = 2.0
        #expect(try !sameBits(subject.session().sample(asked).state, subject.session().sample(request()).state))
        var cold = request()
        cold["temperature"] = 0.0
        #expect(try !sameBits(subject.session().sample(cold).state, subject.session().sample(request()).state))
    }

    @Test func moreStepsThanTokensMakeOneEach() throws {
        let subject = try Subject()
        var asked = request([1])
        for (steps, made) in [(1, 1), (9, 9), (40, 9)] {
            asked["steps"] = steps
            let result = try subject.session().sample(asked)
            #expect(result.statistics.steps.count == made && result.state.allSatisfy { $0.isFinite })
        }
    }

    @Test func plansOfDepthNameTheLists() throws {
        let subject = try Subject()
        let plain = try subject.session().sample(request()).state
        let lists = ["encoder_blocks": [0, 1], "decoder_blocks": [0, 1], "diffloss.net.res_blocks": [0, 1]]
        #expect(try sameBits(subject.session(Plan([DepthPlan(keep: lists)])).sample(request()).state, plain))
        for list in lists.keys {
            let pruned = try subject.session(Plan([DepthPlan(keep: [list: [1]])])).sample(request())
            #expect(!sameBits(pruned.state, plain) && pruned.state.allSatisfy { $0.isFinite }, "\(list)")
        }
        let unnamed = failure { _ = try subject.session(Plan([DepthPlan(keep: [0])])) }
        #expect(unnamed?.code == .incompatible && unnamed?.message.contains("decoder_blocks") == true)
        let cached = failure { _ = try subject.session(Plan([LayerCachePlan(.alternate)])) }
        #expect(cached?.code == .incompatible && cached?.message.contains("another size") == true)
    }

    private static let wrong: [(String, JSON)] = [
        ("steps", 0), ("steps", 1001), ("guidance", -1), ("guidance_schedule", "cosine"), ("temperature", -0.5),
        ("head_steps", "ddim300"), ("head_steps", "many"), ("head_steps", 0), ("head_steps", "10,0"),
        ("order", "random"), ("labels", [6]), ("sampler", "ddim"), ("eta", 0),
    ]

    @Test(arguments: wrong)
    func requestsAreRefusedByName(_ name: String, _ value: JSON) throws {
        let subject = try Subject()
        var asked = request()
        asked[name] = value
        let error = failure { _ = try subject.session().sample(asked) }
        #expect(error?.code == .invalidArgument, "\(name): \(error?.message ?? "taken")")
    }

    @Test func tensorsOfOtherShapesAreRefused() throws {
        let subject = try Subject()
        var numbers = Numbers(1)
        for (name, tensor) in [
            ("order", NamedTensor.integers(Array(0..<18), try Shape(18))),
            ("order", .integers(Array(0..<9), try Shape(1, 9))), ("noise", .floats(try numbers.tensor([2, 4, 3, 4]))),
            ("step_noise", .floats(try numbers.tensor([4, 2, 4, 3, 3]))),
        ] {
            var asked = request()
            asked.tensors[name] = tensor
            let error = failure { _ = try subject.session().sample(asked) }
            #expect(error?.code == .shape && error?.message.contains(name) == true, "\(name)")
        }
        var asked = request()
        asked.tensors["order"] = .integers([0, 1, 2, 3, 4, 5, 6, 7, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8], try Shape(2, 9))
        #expect(failure { _ = try subject.session().sample(asked) }?.message.contains("permutation") == true)
    }

    @Test func theEstimateIsTheMeasuredPeakAndBoundsMemory() throws {
        let subject = try Subject(decoder: false)
        let asked = request([0, 1, 2])
        let estimate = try subject.session().estimate(asked)
        let statistics = try subject.session().sample(asked).statistics
        #expect(abs(Double(estimate.peak) - Double(statistics.peakBytes)) <= 0.1 * Double(statistics.peakBytes))
        #expect(estimate.flops == statistics.flops, "\(estimate.flops) \(statistics.flops)")
        let exact = try subject.session(memoryLimit: estimate.peak)
        #expect(failure { _ = try exact.sample(asked) } == nil)
        let half = try subject.session(memoryLimit: estimate.peak / 2)
        #expect(failure { _ = try half.sample(asked) }?.code == .overBudget)
    }

    @Test func aRunStopsBetweenSteps() throws {
        let subject = try Subject()
        var seen = 0
        let error = failure {
            _ = try subject.session().sample(request()) { _ in
                seen += 1
                return seen == 2 ? .cancel : .continue
            }
        }
        #expect(error?.code == .cancelled && seen == 2)
    }

    @Test func theAutoencoderMustFit() throws {
        var other = TinyMAR()
        let directory = try ScratchDirectory()
        try other.write(directory)
        other.channels = 5
        var options = ModelOptions()
        options.decoder = "\(directory.path)/mar/vae"
        let path = try other.write(directory, as: "wide", decoder: false)
        let error = failure { _ = try Model(path, options) }
        #expect(error?.code == .incompatible && error?.message.contains("5") == true)
        let bare = try Subject(decoder: false)
        if case .object(let facts) = bare.model.description { #expect(facts["decoder"] == "none") }
        var asked = request()
        asked["previews"] = true
        #expect(failure { _ = try bare.session().sample(asked) }?.message.contains("vae") == true)
    }
}
