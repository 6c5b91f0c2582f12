import DiffAccel
import DiffCheckpoint
import DiffModels
import TestSupport
import Testing

/// A drafter with its VQ-VAE, and a refiner beside it.
private struct Pair {
    let directory: ScratchDirectory
    let drafter: Model
    let refiner: Model

    init(_ drafter: TinyVAR = TinyVAR(), refiner: TinyVAR? = nil) throws {
        var second = refiner ?? drafter
        if refiner == nil { (second.width, second.depth, second.seed) = (16, 1, 7) }
        directory = try ScratchDirectory()
        self.drafter = try Model(drafter.write(directory))
        self.refiner = try Model(second.write(directory, as: "refiner", codes: false))
    }

    func session(_ plan: Plan = Plan(), partner: Model? = nil, memoryLimit: Int = 0, threads: Int = 1) throws -> Session
    {
        var options = SessionOptions()
        (options.threads, options.memoryLimit, options.partner) = (threads, memoryLimit, partner)
        return try drafter.session(plan, options)
    }

    func collaborating(_ draftScales: Int) throws -> Session {
        try session(Plan([CollaborativePlan(draftScales: draftScales)]), partner: refiner)
    }
}

private func request(_ labels: [Int] = [0, 3], seed: UInt64 = 1) -> SampleRequest {
    var request = SampleRequest(labels: labels)
    request.seed = seed
    return request
}

extension SampleResult {
    fileprivate var tokens: [Int] { (try? tensor("tokens").integers) ?? [] }
}

@Suite struct NextScaleTests {
    @Test(arguments: [false, true], [false, true])
    func everyKindOfModelSamples(_ shared: Bool, _ normalised: Bool) throws {
        var tiny = TinyVAR()
        (tiny.sharesModulation, tiny.normalisesHeads) = (shared, normalised)
        let pair = try Pair(tiny)
        let result = try pair.session().sample(request([0, 5, 2]))
        #expect(result.tokens.count == 3 * tiny.tokens && result.tokens.allSatisfy { (0..<24).contains($0) })
        #expect(try result.tensor("tokens").shape.dims == [3, 30])
        #expect(result.latents?.shape.dims == [3, 4, 4, 4] && result.pixels?.shape.dims == [3, 3, 4, 4])
        let images = try #require(result.images)
        #expect(images.count == 3 && images.height == 4 && images.channels == 3)
        let pixels = try #require(result.pixels).array
        images.withBytes { bytes in
            for (n, y, x, c) in withEvery([0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3]).flatMap({ n, y, x in
                [0, 1, 2].map { (n, y, x, $0) }
            }) {
                let value = (min(max(pixels[((n * 3 + c) * 4 + y) * 4 + x], -1), 1) + 1) * 0.5 * 255
                #expect(bytes[((n * 4 + y) * 4 + x) * 3 + c] == UInt8(value.rounded(.down)))
            }
        }
        #expect(result.statistics.sampler == "next-scale" && result.statistics.steps.map(\.timestep) == [1, 2, 3, 4])
    }

    @Test func aSeedDecidesEveryBit() throws {
        let pair = try Pair()
        let first = try pair.session().sample(request())
        for threads in [1, 2, 3] {
            let again = try pair.session(threads: threads).sample(request())
            #expect(again.tokens == first.tokens && sameBits(again.state, first.state))
        }
        #expect(try pair.session().sample(request(seed: 2)).tokens != first.tokens)
    }

    @Test func aBatchHasTheBitsOfItsSamplesWhenDrawsAreGiven() throws {
        let pair = try Pair()
        var numbers = Numbers(3)
        let uniforms = numbers.floats(3 * 30).map { ($0 + 1) / 2 * 0.999 }
        var all = request([4, 1, 1])
        all.scales.uniforms = try Tensor(uniforms, Shape(3, 30))
        let batch = try pair.session().sample(all)
        for index in 0..<3 {
            var one = request([[4, 1, 1][index]])
            one.scales.uniforms = try Tensor(Array(uniforms[index * 30..<index * 30 + 30]), Shape(1, 30))
            let single = try pair.session().sample(one)
            #expect(single.tokens == Array(batch.tokens[index * 30..<index * 30 + 30]))
            #expect(try sameBits(single.state, #require(batch.latents).rows(index, 1).array))
        }
    }

    @Test func neutralSettingsChangeNothing() throws {
        let pair = try Pair()
        var plain = request()
        (plain.scales.topK, plain.scales.topP, plain.guidance) = ([0], 0, 0)
        let expected = try pair.session().sample(plain).tokens
        var same = plain
        (same.scales.topK, same.scales.temperature) = ([24, 1000, 0, 24], [1, 1, 1, 1])
        #expect(try pair.session().sample(same).tokens == expected)
        same.scales.temperature = [1.5]
        #expect(try pair.session().sample(same).tokens != expected)
        var greedy = plain
        greedy.scales.topK = [1]
        let first = try pair.session().sample(greedy).tokens
        greedy.seed = 99
        #expect(try pair.session().sample(greedy).tokens == first, "one candidate leaves no choice")
        var mixed = plain
        mixed.scales.mixes = true
        #expect(try !sameBits(pair.session().sample(mixed).state, pair.session().sample(plain).state))
    }

    @Test func aKnownPictureIsKeptWhereTheMaskSaysSo() throws {
        let pair = try Pair()
        var numbers = Numbers(3)
        let image = try numbers.tensor([2, 3, 4, 4])
        func result(_ keeps: [Float], _ session: Session) throws -> SampleResult {
            var asked = request()
            asked.scales.known = KnownPicture(image: image, keeps: try Tensor(keeps + keeps, Shape(2, 4, 4)))
            return try session.sample(asked)
        }
        let session = try pair.session()
        let all = try result([Float](repeating: 1, count: 16), session).state
        let none = try result([Float](repeating: 0, count: 16), session)
        #expect(try none.tokens == session.sample(request()).tokens, "nothing known changes nothing")
        let left = (0..<16).map { Float($0 % 4 < 2 ? 1 : 0) }
        for session in [session, try pair.collaborating(2)] {
            let part = try result(left, session).state
            for index in part.indices where index % 4 < 2 { #expect(part[index] == all[index]) }
            #expect(part != all)
        }
        // What is kept is the picture as the VQ-VAE encodes it.
        var inputs = NamedInputs()
        inputs.tensors = ["image": image]
        let codes = try Model("\(pair.directory.path)/var/vae")
        #expect(try sameBits(#require(codes.forward(inputs, wanted: ["state"])["state"]).array, all))
        var wrong = request()
        wrong.scales.known = KnownPicture(
            image: try numbers.tensor([2, 3, 8, 8]), keeps: try numbers.tensor([2, 4, 4]))
        #expect(failure { _ = try session.sample(wrong) }?.code == .shape)
    }

    // MARK: CoDe

    @Test(arguments: [1, 2, 3])
    func aDrafterThatIsItsOwnRefinerIsThePlainModel(_ draftScales: Int) throws {
        let pair = try Pair()
        let plain = try pair.session().sample(request())
        let session = try pair.session(Plan([CollaborativePlan(draftScales: draftScales)]), partner: pair.drafter)
        let result = try session.sample(request())
        #expect(result.tokens == plain.tokens && sameBits(result.state, plain.state))
        #expect(result.statistics.steps.map(\.network) == [0, 1, 2, 3].map { $0 < draftScales ? 0 : 1 })
        #expect(result.statistics.weightBytes == plain.statistics.weightBytes, "weights that are shared count once")
    }

    @Test func aRefinerTakesOverWhereThePlanSays() throws {
        let pair = try Pair()
        let plain = try pair.session().sample(request())
        for n in 1...3 {
            let result = try pair.collaborating(n).sample(request())
            let drafted = pair.drafted(n)
            #expect(result.tokens.prefix(drafted) == plain.tokens.prefix(drafted))
            #expect(result.tokens != plain.tokens)
            #expect(result.statistics.flops < plain.statistics.flops)
            let sites = result.statistics.steps.map(\.sites.computed)
            #expect(sites == [0, 1, 2, 3].map { $0 < n ? 4 : 2 }, "two sites for each block of the network that runs")
        }
    }

    @Test func planFilesNameARefinerBesideThem() throws {
        let pair = try Pair()
        let entry = JSON.object([
            "method": .string("code"), "refiner": .string("refiner"), "draft_scales": .integer(2),
        ])
        try pair.directory.write(entry, as: "code.json")
        let plan = try Plan(contentsOf: "\(pair.directory.path)/code.json")
        let expected = try pair.collaborating(2).sample(request()).tokens
        #expect(try pair.session(plan).sample(request()).tokens == expected)
        // Written and read again beside the refiner.
        try plan.save(to: pair.directory.file("again.json"))
        let again = try Plan(contentsOf: "\(pair.directory.path)/again.json")
        #expect(try pair.session(again).sample(request()).tokens == expected)
        // As text the name is a path of the caller.
        let text = Plan([CollaborativePlan(refiner: "\(pair.directory.path)/refiner", draftScales: 2)])
        #expect(try pair.session(text).sample(request()).tokens == expected)
        for name in ["../refiner", "var/../refiner", "/etc", "..", "."] {
            try pair.directory.write(
                .object(["method": .string("code"), "refiner": .string(name)]), as: "bad.json")
            #expect(failure { _ = try Plan(contentsOf: "\(pair.directory.path)/bad.json") }?.code == .format, "\(name)")
        }
        try pair.directory.write(
            .object(["method": .string("code"), "refiner": .string("nothing")]), as: "missing.json")
        let missing = try Plan(contentsOf: "\(pair.directory.path)/missing.json")
        #expect(failure { _ = try pair.session(missing) }?.code == .io)
    }

    @Test func pairsThatDoNotFitAreRefusedWhenTheSessionIsMade() throws {
        let drafter = TinyVAR()
        var changes: [(String, TinyVAR)] = []
        for (name, change) in [
            ("codes", { (t: inout TinyVAR) in t.vocabulary = 25 }), ("channels", { $0.channels = 8 }),
            ("classes", { $0.classes = 6 }), ("scales", { $0.sides = [1, 2, 4] }),
        ] as [(String, (inout TinyVAR) -> Void)] {
            var other = drafter
            change(&other)
            changes.append((name, other))
        }
        for (name, other) in changes {
            let pair = try Pair(drafter, refiner: other)
            let error = failure { _ = try pair.collaborating(2) }
            #expect(error?.code == .incompatible && error?.message.contains(name) == true, "\(name): \(error as Any)")
        }
        let pair = try Pair()
        #expect(failure { _ = try pair.collaborating(4) }?.code == .incompatible)
        #expect(failure { _ = try pair.collaborating(0) }?.code == .incompatible)
        #expect(failure { _ = try pair.session(Plan([CollaborativePlan()])) }?.code == .invalidArgument, "no refiner")
        #expect(failure { _ = try pair.session(partner: pair.refiner) }?.code == .invalidArgument, "no plan for it")
        let dit = try Tiny()
        #expect(
            failure { _ = try pair.session(Plan([CollaborativePlan(draftScales: 2)]), partner: dit.model) }?.code
                == .incompatible)
        #expect(failure { _ = try dit.session(Plan([CollaborativePlan(draftScales: 2)])) }?.code == .incompatible)
        #expect(failure { _ = try pair.session(cached(.alternate)) }?.code == .incompatible)
        let twice = Plan([CollaborativePlan(draftScales: 2), LayerCachePlan(.none)])
        #expect(failure { _ = try pair.session(twice, partner: pair.refiner) }?.code == .incompatible)
    }

    @Test func aModelWithoutCodesCannotSample() throws {
        let directory = try ScratchDirectory()
        let model = try Model(TinyVAR().write(directory, codes: false))
        let error = failure { _ = try model.session() }
        #expect(error?.code == .unsupported && error?.message.contains("VQ-VAE") == true)
        var options = ModelOptions()
        options.decoder = try TinyVAR().write(directory, as: "other") + "/vae"
        let named = try Model("\(directory.path)/var", options)
        #expect(try named.session().sample(request()).images != nil)
        var wrong = TinyVAR()
        wrong.vocabulary = 30
        options.decoder = try wrong.write(directory, as: "wrong") + "/vae"
        #expect(failure { _ = try Model("\(directory.path)/var", options) }?.code == .incompatible)
    }

    // MARK: Bookkeeping

    @Test func theEstimateIsTheMeasuredPeak() throws {
        var tiny = TinyVAR()
        (tiny.width, tiny.sides) = (64, [1, 2, 4, 6, 8])
        var small = tiny
        (small.width, small.depth) = (32, 1)
        let pair = try Pair(tiny, refiner: small)
        for session in try [pair.session(), pair.collaborating(2), pair.collaborating(4)] {
            let estimate = try session.estimate(request([1, 2, 3]))
            let statistics = try session.sample(request([1, 2, 3])).statistics
            #expect(
                abs(Double(estimate.peak) - Double(statistics.peakBytes)) <= 0.1 * Double(statistics.peakBytes),
                "estimated \(estimate.peak), measured \(statistics.peakBytes)")
            #expect(estimate.flops == statistics.flops && estimate.sites == statistics.sites)
            #expect(estimate.baselineFlops >= estimate.flops)
            let exact = try pair.session(
                session.plan, partner: session.plan.entries.isEmpty ? nil : pair.refiner, memoryLimit: estimate.peak)
            #expect(failure { _ = try exact.sample(request([1, 2, 3])) } == nil)
            let half = try pair.session(
                session.plan, partner: session.plan.entries.isEmpty ? nil : pair.refiner, memoryLimit: estimate.peak / 2
            )
            #expect(failure { _ = try half.sample(request([1, 2, 3])) }?.code == .overBudget)
            #expect(half.bytesHeld == 0)
        }
        // The drafter's caches are gone before the refiner's come.
        let plain = try pair.session().estimate(request([1, 2, 3])).workspace
        #expect(try pair.collaborating(4).estimate(request([1, 2, 3])).workspace < plain)
    }

    @Test func eventsTellOfEveryScaleAndBringPreviews() throws {
        let pair = try Pair()
        var asked = request()
        asked.previews = true
        var events: [SampleEvent] = []
        let result = try pair.collaborating(2).sample(asked) { event in
            events.append(event)
            return .continue
        }
        let scales = events.filter { $0.stage == .scale }
        #expect(scales.map(\.step) == [1, 2, 3, 4] && scales.map(\.timestep) == [1, 2, 3, 4])
        #expect(scales.map(\.network) == [0, 0, 1, 1])
        let last = try #require(scales.last?.preview)
        let images = try #require(result.images)
        #expect(last.withBytes { Array($0) } == images.withBytes { Array($0) }, "the last preview is the picture")
        #expect(try pair.collaborating(2).sample(request()).statistics.flops == result.statistics.flops)
    }

    @Test func aStopAtAnyScaleLeavesTheSessionAsNew() throws {
        let pair = try Pair()
        let session = try pair.collaborating(2)
        let expected = try session.sample(request()).tokens
        for stop in 1...5 {
            var seen = 0
            let error = failure {
                _ = try session.sample(request()) { _ in
                    seen += 1
                    return seen == stop ? .cancel : .continue
                }
            }
            #expect(error?.code == .cancelled && seen == stop && session.bytesHeld == 0)
            #expect(try session.sample(request()).tokens == expected)
        }
    }

    @Test func mistakesInARequestAreNamed() throws {
        let session = try Pair().session()
        let mistakes: [(String, DiffError.Code, (inout SampleRequest) throws -> Void)] = [
            ("no labels", .invalidArgument, { $0.labels = [] }),
            ("a label above the table", .invalidArgument, { $0.labels = [6] }),
            ("a negative label", .invalidArgument, { $0.labels = [-1] }),
            ("guidance NaN", .invalidArgument, { $0.guidance = .nan }),
            ("guidance negative", .invalidArgument, { $0.guidance = -1 }),
            ("top_k negative", .invalidArgument, { $0.scales.topK = [-1] }),
            ("top_k for some scales", .invalidArgument, { $0.scales.topK = [1, 2] }),
            ("top_p above 1", .invalidArgument, { $0.scales.topP = 1.5 }),
            ("top_p NaN", .invalidArgument, { $0.scales.topP = .nan }),
            ("temperature 0", .invalidArgument, { $0.scales.temperature = [0] }),
            ("temperature NaN", .invalidArgument, { $0.scales.temperature = [.nan] }),
            ("temperatures for more scales", .invalidArgument, { $0.scales.temperature = [1, 1, 1, 1, 1] }),
            ("noise", .unsupported, { $0.noise = try Tensor([1], Shape(1)) }),
            ("too few draws", .shape, { $0.scales.uniforms = try Tensor([0.5], Shape(1)) }),
            (
                "draws NaN", .notFinite,
                { $0.scales.uniforms = try Tensor([Float](repeating: .nan, count: 60), Shape(2, 30)) }
            ),
        ]
        for (name, code, change) in mistakes {
            var asked = request()
            try change(&asked)
            let error = failure { _ = try session.sample(asked) }
            #expect(error?.code == code && error?.message.isEmpty == false, "\(name): \(String(describing: error))")
        }
        #expect(failure { _ = try session.sample(request()) } == nil, "usable afterwards")
        #expect(failure { _ = try session.noiseShape(request()) }?.code == .unsupported)
    }

    @Test func weightsThatAreNotFiniteAreNoticed() throws {
        let directory = try ScratchDirectory()
        let tiny = TinyVAR()
        let path = try tiny.write(directory)
        var tensors = try tiny.tensors(tiny.shapes)
        tensors["head.bias"] = try Tensor([Float](repeating: .nan, count: 24), Shape(24))
        try directory.write(tensors, as: "var/model.safetensors")
        #expect(failure { _ = try Model(path).session().sample(request()) }?.code == .notFinite)
    }

    // MARK: Opening

    @Test func anOfficialFileNeedsNoConfig() throws {
        let directory = try ScratchDirectory()
        var tiny = TinyVAR()
        (tiny.width, tiny.heads) = (64, 1)
        let path = try tiny.write(directory)
        var options = ModelOptions()
        options.config = .object([
            "family": .string("var"), "patch_nums": .array(tiny.sides.map { .integer($0) }),
            "cfg": .number(1.5), "top_k": .integer(12), "top_p": .number(0.9),
        ])
        options.decoder = "\(path)/vae"
        let bare = try Model("\(path)/model.safetensors", options)
        #expect(try bare.session().sample(request()).tokens == Model(path).session().sample(request()).tokens)
    }

    @Test func picturesBecomeTokensAndPicturesAgain() throws {
        let directory = try ScratchDirectory()
        try TinyVAR().write(directory)
        let model = try Model("\(directory.path)/var/vae")
        #expect(model.familyName == "vqvae")
        var numbers = Numbers(9)
        var inputs = NamedInputs()
        inputs.tensors = ["image": try numbers.tensor([2, 3, 4, 4])]
        let made = try model.forward(inputs, wanted: ["tokens", "state", "image"])
        let tokens = try #require(made["tokens"])
        #expect(tokens.shape.dims == [2, 30] && made["state"]?.shape.dims == [2, 4, 4, 4])
        var again = NamedInputs()
        again.integers = ["tokens": tokens.array.map { Int($0) }]
        let image = try #require(model.forward(again, wanted: ["image"])["image"])
        #expect(try sameBits(image.array, #require(made["image"]).array))
        again.integers = ["tokens": [1, 2]]
        #expect(failure { _ = try model.forward(again, wanted: ["image"]) }?.code == .shape)
        again.integers = ["tokens": Array(repeating: 24, count: 30)]
        #expect(failure { _ = try model.forward(again, wanted: ["image"]) }?.code == .invalidArgument)
        #expect(failure { _ = try model.session() }?.code == .unsupported)
    }

    @Test func aRawForwardIsTeacherForced() throws {
        let model = try Pair().drafter
        var numbers = Numbers(2)
        var inputs = NamedInputs()
        inputs.integers = ["y": [1, 5]]
        inputs.tensors = ["x": try numbers.tensor([2, 29, 4])]
        let all = try #require(model.forward(inputs)["logits"])
        #expect(all.shape.dims == [2, 30, 24])
        // A later scale changes nothing in the earlier ones.
        let first = try #require(inputs.tensors["x"])
        let run = Run(pool: nil, budget: nil)
        inputs.tensors = ["x": try run.copy(run.tokens(first, 0, 4))]
        let some = try #require(model.forward(inputs)["logits"])
        #expect(try sameBits(some.array, run.tokens(all, 0, 5).array))
        inputs.tensors = ["x": try run.tokens(first, 0, 5)]
        #expect(failure { _ = try model.forward(inputs) }?.code == .shape, "a scale is cut")
    }
}

extension Pair {
    /// Tokens of the first `scales` scales of one sample.
    fileprivate func drafted(_ scales: Int) -> Int { [0, 1, 5, 14, 30][scales] }
}
