import DiffAccel
import TestSupport
import Testing

/// What a session refuses, before or during a run, and that it is as good as new afterwards.
@Suite struct SessionRefusalTests {
    @Test func aRouterForOtherStepsIsRefusedWithBothNumbers() throws {
        let tiny = try Tiny()
        let session = try tiny.session(cached(.learned(tiny.router(steps: 6))))
        let error = failure { _ = try session.sample(request(steps: 8)) }
        #expect(error?.code == .incompatible)
        #expect(error?.message.contains("6 steps") == true && error?.message.contains("8") == true)
        #expect(failure { _ = try session.estimate(request(steps: 8)) }?.code == .incompatible)
        #expect(failure { _ = try session.sample(request(steps: 6)) } == nil)
    }

    @Test func aRouterForAnotherModelIsRefusedBeforeARun() throws {
        let tiny = try Tiny()
        let router = try Router(logits: Array(repeating: [1, 2], count: 4), threshold: 0.1)
        let error = failure { _ = try tiny.session(cached(.learned(router))) }
        #expect(error?.code == .incompatible && error?.message.contains("2 columns") == true)
        #expect(error?.message.contains("\(tiny.sublayers)") == true && error?.message.contains("l2c") == true)
    }

    struct Mistake: Sendable, CustomStringConvertible {
        let description: String
        let code: DiffError.Code
        let change: @Sendable (inout SampleRequest) throws -> Void
        init(
            _ description: String, _ code: DiffError.Code,
            _ change: @escaping @Sendable (inout SampleRequest) throws -> Void
        ) {
            (self.description, self.code, self.change) = (description, code, change)
        }
    }

    @Test(arguments: [
        Mistake("no labels", .invalidArgument) { $0["labels"] = [] },
        Mistake("a label above the table", .invalidArgument) { $0["labels"] = [0, 6] },
        Mistake("a negative label", .invalidArgument) { $0["labels"] = [-1] },
        Mistake("too many labels", .invalidArgument) { $0["labels"] = Array(repeating: 0, count: 4097) },
        Mistake("no steps", .invalidArgument) { $0["steps"] = 0 },
        Mistake("negative steps", .invalidArgument) { $0["steps"] = -3 },
        Mistake("more steps than timesteps", .invalidArgument) { $0["steps"] = 1001 },
        Mistake("endless steps", .invalidArgument) { $0["steps"] = Int.max },
        Mistake("an unknown spacing", .invalidArgument) { $0["spacing"] = "sideways" },
        Mistake("sections that do not add up", .invalidArgument) { $0["spacing"] = "2,3" },
        Mistake("empty sections", .invalidArgument) { $0["spacing"] = "2,,2" },
        Mistake("an offset out of range", .invalidArgument) { ($0["spacing"], $0["steps_offset"]) = ("leading", 900) },
        Mistake("eta above 1", .invalidArgument) { $0["eta"] = 1.01 },
        Mistake("eta NaN", .invalidArgument) { $0["eta"] = Double.nan },
        Mistake("guidance NaN", .invalidArgument) { $0["guidance"] = Double.nan },
        Mistake("guidance endless", .invalidArgument) { $0["guidance"] = Double.infinity },
        Mistake("guidance negative", .invalidArgument) { $0["guidance"] = -1 },
        Mistake("no guided channels", .invalidArgument) { $0["guidance_channels"] = 0 },
        Mistake("guided channels above all", .invalidArgument) { $0["guidance_channels"] = 5 },
        Mistake("noise for one sample", .shape) {
            $0.tensors["noise"] = .floats(try Tensor([Float](repeating: 0, count: 256), Shape(1, 4, 8, 8)))
        },
        Mistake("noise without values", .shape) { $0.tensors["noise"] = .floats(try Tensor([], Shape(0))) },
        Mistake("step noise for too few steps", .shape) {
            $0.tensors["step_noise"] = .floats(try Tensor([Float](repeating: 0, count: 1536), Shape([3, 2, 4, 8, 8])))
        },
        Mistake("candidates of a model that has none", .invalidArgument) { $0["top_k"] = [5] },
        Mistake("previews of latents", .invalidArgument) { $0["previews"] = true },
        Mistake("noise that is not finite", .notFinite) {
            $0.tensors["noise"] = .floats(try Tensor([Float](repeating: .nan, count: 512), Shape(2, 4, 8, 8)))
        },
    ])
    func aMistakeInARequestIsNamed(_ mistake: Mistake) throws {
        let session = try Tiny().session()
        var request = request()
        try mistake.change(&request)
        let error = failure { _ = try session.sample(request) }
        #expect(error?.code == mistake.code, "\(mistake): \(String(describing: error))")
        #expect(error?.message.isEmpty == false)
        #expect(failure { _ = try session.sample(DiffAccelTests.request()) } == nil, "usable afterwards")
    }

    @Test func weightsThatAreNotFiniteAreNoticed() throws {
        let directory = try ScratchDirectory()
        let dit = TinyDiT()
        var tensors = try dit.tensors()
        tensors["blocks.1.mlp.fc1.bias"] = try Tensor([Float](repeating: .nan, count: 96), Shape(96))
        try directory.write(dit.config, as: "config.json")
        try directory.write(tensors, as: "model.safetensors")
        let session = try Model(directory.path).session()
        #expect(failure { _ = try session.sample(request()) }?.code == .notFinite)
        #expect(session.bytesHeld == 0)
    }

    @Test func modelsWithoutAPartRefuseWhatNeedsIt() throws {
        var dit = TinyDiT()
        (dit.hasNullClass, dit.learnsSigma) = (false, false)
        let session = try Tiny(dit).session()
        #expect(failure { _ = try session.sample(request(guidance: 4)) }?.code == .unsupported)
        #expect(failure { _ = try session.sample(request(guidance: nil)) } == nil, "its own guidance is none")
        #expect(failure { _ = try session.sample(request(guidance: 1)) } == nil)
        var ancestral = request(guidance: 1)
        ancestral["sampler"] = "ddpm"
        #expect(failure { _ = try session.sample(ancestral) }?.code == .unsupported)
    }

    @Test func optionsOutOfRangeAreRefused() throws {
        let tiny = try Tiny()
        #expect(failure { _ = try tiny.session(threads: -1) }?.code == .invalidArgument)
        #expect(failure { _ = try tiny.session(threads: 257) }?.code == .invalidArgument)
        #expect(failure { _ = try tiny.session(memoryLimit: -1) }?.code == .invalidArgument)
        #expect(try tiny.session(threads: 0).threads >= 1)
    }
}
