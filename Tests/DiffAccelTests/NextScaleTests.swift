import DiffAccel
import DiffCheckpoint
import DiffModels
import TestSupport
import Testing

@Suite struct NextScaleTests {
    @Test(arguments: [false, true], [false, true])
    func everyKindOfModelSamples(_ shared: Bool, _ normalised: Bool) throws {
        var tiny = TinyVAR()
        (tiny.sharesModulation, tiny.normalisesHeads) = (shared, normalised)
        let pair = try VARPair(tiny)
        let result = try pair.session().sample(scaleRequest([0, 5, 2]))
        #expect(result.scaleTokens.count == 3 * tiny.tokens && result.scaleTokens.allSatisfy { (0..<24).contains($0) })
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
        let pair = try VARPair()
        let first = try pair.session().sample(scaleRequest())
        for threads in [1, 2, 3] {
            let again = try pair.session(threads: threads).sample(scaleRequest())
            #expect(again.scaleTokens == first.scaleTokens && sameBits(again.state, first.state))
        }
        #expect(try pair.session().sample(scaleRequest(seed: 2)).scaleTokens != first.scaleTokens)
    }

    @Test func aBatchHasTheBitsOfItsSamplesWhenDrawsAreGiven() throws {
        let pair = try VARPair()
        var numbers = Numbers(3)
        let uniforms = numbers.floats(3 * 30).map { ($0 + 1) / 2 * 0.999 }
        var all = scaleRequest([4, 1, 1])
        all.tensors["uniforms"] = .floats(try Tensor(uniforms, Shape(3, 30)))
        let batch = try pair.session().sample(all)
        for index in 0..<3 {
            var one = scaleRequest([[4, 1, 1][index]])
            one.tensors["uniforms"] = .floats(try Tensor(Array(uniforms[index * 30..<index * 30 + 30]), Shape(1, 30)))
            let single = try pair.session().sample(one)
            #expect(single.scaleTokens == Array(batch.scaleTokens[index * 30..<index * 30 + 30]))
            #expect(try sameBits(single.state, #require(batch.latents).rows(index, 1).array))
        }
    }

    @Test func neutralSettingsChangeNothing() throws {
        let pair = try VARPair()
        var plain = scaleRequest()
        (plain["top_k"], plain["top_p"], plain["guidance"]) = ([0], 0, 0)
        let expected = try pair.session().sample(plain).scaleTokens
        var same = plain
        (same["top_k"], same["temperature"]) = ([24, 1000, 0, 24], [1, 1, 1, 1])
        #expect(try pair.session().sample(same).scaleTokens == expected)
        same["temperature"] = [1.5]
        #expect(try pair.session().sample(same).scaleTokens != expected)
        var greedy = plain
        greedy["top_k"] = [1]
        let first = try pair.session().sample(greedy).scaleTokens
        greedy["seed"] = 99
        #expect(try pair.session().sample(greedy).scaleTokens == first, "one candidate leaves no choice")
        var mixed = plain
        mixed["more_smooth"] = true
        #expect(try !sameBits(pair.session().sample(mixed).state, pair.session().sample(plain).state))
    }

    @Test func aKnownPictureIsKeptWhereTheMaskSaysSo() throws {
        let pair = try VARPair()
        var numbers = Numbers(3)
        let image = try numbers.tensor([2, 3, 4, 4])
        func result(_ mask: [Float], _ session: Session) throws -> SampleResult {
            var asked = scaleRequest()
            asked.tensors["image"] = .floats(image)
            asked.tensors["mask"] = .floats(try Tensor(mask + mask, Shape(2, 4, 4)))
            return try session.sample(asked)
        }
        let session = try pair.session()
        let all = try result([Float](repeating: 1, count: 16), session).state
        let none = try result([Float](repeating: 0, count: 16), session)
        #expect(try none.scaleTokens == session.sample(scaleRequest()).scaleTokens, "nothing known changes nothing")
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
        var wrong = scaleRequest()
        wrong.tensors["image"] = .floats(try numbers.tensor([2, 3, 8, 8]))
        wrong.tensors["mask"] = .floats(try numbers.tensor([2, 4, 4]))
        #expect(failure { _ = try session.sample(wrong) }?.code == .shape)
    }

    // MARK: Bookkeeping

    @Test func aModelWithoutCodesCannotSample() throws {
        let directory = try ScratchDirectory()
        let model = try Model(TinyVAR().write(directory, codes: false))
        let error = failure { _ = try model.session() }
        #expect(error?.code == .unsupported && error?.message.contains("VQ-VAE") == true)
        var options = ModelOptions()
        options.decoder = try TinyVAR().write(directory, as: "other") + "/vae"
        let named = try Model("\(directory.path)/var", options)
        #expect(try named.session().sample(scaleRequest()).images != nil)
        var wrong = TinyVAR()
        wrong.vocabulary = 30
        options.decoder = try wrong.write(directory, as: "wrong") + "/vae"
        #expect(failure { _ = try Model("\(directory.path)/var", options) }?.code == .incompatible)
    }

    @Test func theEstimateIsTheMeasuredPeak() throws {
        var tiny = TinyVAR()
        (tiny.width, tiny.sides) = (64, [1, 2, 4, 6, 8])
        var small = tiny
        (small.width, small.depth) = (32, 1)
        let pair = try VARPair(tiny, refiner: small)
        for session in try [pair.session(), pair.collaborating(2), pair.collaborating(4)] {
            let estimate = try session.estimate(scaleRequest([1, 2, 3]))
            let statistics = try session.sample(scaleRequest([1, 2, 3])).statistics
            #expect(
                abs(Double(estimate.peak) - Double(statistics.peakBytes)) <= 0.1 * Double(statistics.peakBytes),
                "estimated \(estimate.peak), measured \(statistics.peakBytes)")
            #expect(estimate.flops == statistics.flops && estimate.sites == statistics.sites)
            #expect(estimate.baselineFlops >= estimate.flops)
            let exact = try pair.session(
                session.plan, partner: session.plan.entries.isEmpty ? nil : pair.refiner, memoryLimit: estimate.peak)
            #expect(failure { _ = try exact.sample(scaleRequest([1, 2, 3])) } == nil)
            let half = try pair.session(
                session.plan, partner: session.plan.entries.isEmpty ? nil : pair.refiner, memoryLimit: estimate.peak / 2
            )
            #expect(failure { _ = try half.sample(scaleRequest([1, 2, 3])) }?.code == .overBudget)
            #expect(half.bytesHeld == 0)
        }
        // The drafter's caches are gone before the refiner's come.
        let plain = try pair.session().estimate(scaleRequest([1, 2, 3])).workspace
        #expect(try pair.collaborating(4).estimate(scaleRequest([1, 2, 3])).workspace < plain)
    }

    @Test func eventsTellOfEveryScaleAndBringPreviews() throws {
        let pair = try VARPair()
        var asked = scaleRequest()
        asked["previews"] = true
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
        #expect(try pair.collaborating(2).sample(scaleRequest()).statistics.flops == result.statistics.flops)
    }

    @Test func aStopAtAnyScaleLeavesTheSessionAsNew() throws {
        let pair = try VARPair()
        let session = try pair.collaborating(2)
        let expected = try session.sample(scaleRequest()).scaleTokens
        for stop in 1...5 {
            var seen = 0
            let error = failure {
                _ = try session.sample(scaleRequest()) { _ in
                    seen += 1
                    return seen == stop ? .cancel : .continue
                }
            }
            #expect(error?.code == .cancelled && seen == stop && session.bytesHeld == 0)
            #expect(try session.sample(scaleRequest()).scaleTokens == expected)
        }
    }

    @Test func mistakesInARequestAreNamed() throws {
        let session = try VARPair().session()
        let mistakes: [(String, DiffError.Code, (inout SampleRequest) throws -> Void)] = [
            ("no labels", .invalidArgument, { $0["labels"] = [] }),
            ("a label above the table", .invalidArgument, { $0["labels"] = [6] }),
            ("a negative label", .invalidArgument, { $0["labels"] = [-1] }),
            ("guidance NaN", .invalidArgument, { $0["guidance"] = Double.nan }),
            ("guidance negative", .invalidArgument, { $0["guidance"] = -1 }),
            ("top_k negative", .invalidArgument, { $0["top_k"] = [-1] }),
            ("top_k for some scales", .invalidArgument, { $0["top_k"] = [1, 2] }),
            ("top_p above 1", .invalidArgument, { $0["top_p"] = 1.5 }),
            ("top_p NaN", .invalidArgument, { $0["top_p"] = Double.nan }),
            ("temperature 0", .invalidArgument, { $0["temperature"] = [0] }),
            ("temperature NaN", .invalidArgument, { $0["temperature"] = [Double.nan] }),
            ("temperatures for more scales", .invalidArgument, { $0["temperature"] = [1, 1, 1, 1, 1] }),
            ("noise", .invalidArgument, { $0.tensors["noise"] = .floats(try Tensor([1], Shape(1))) }),
            ("too few draws", .shape, { $0.tensors["uniforms"] = .floats(try Tensor([0.5], Shape(1))) }),
            (
                "draws NaN", .notFinite,
                { $0.tensors["uniforms"] = .floats(try Tensor([Float](repeating: .nan, count: 60), Shape(2, 30))) }
            ),
        ]
        for (name, code, change) in mistakes {
            var asked = scaleRequest()
            try change(&asked)
            let error = failure { _ = try session.sample(asked) }
            #expect(error?.code == code && error?.message.isEmpty == false, "\(name): \(String(describing: error))")
        }
        #expect(failure { _ = try session.sample(scaleRequest()) } == nil, "usable afterwards")
    }

    @Test func weightsThatAreNotFiniteAreNoticed() throws {
        let directory = try ScratchDirectory()
        let tiny = TinyVAR()
        let path = try tiny.write(directory)
        var tensors = try tiny.tensors(tiny.shapes)
        tensors["head.bias"] = try Tensor([Float](repeating: .nan, count: 24), Shape(24))
        try directory.write(tensors, as: "var/model.safetensors")
        #expect(failure { _ = try Model(path).session().sample(scaleRequest()) }?.code == .notFinite)
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
        #expect(
            try bare.session().sample(scaleRequest()).scaleTokens
                == Model(path).session().sample(scaleRequest()).scaleTokens)
    }

    @Test func aRawForwardIsTeacherForced() throws {
        let model = try VARPair().drafter
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
