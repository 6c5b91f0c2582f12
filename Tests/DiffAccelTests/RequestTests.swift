import DiffAccel
import TestSupport
import Testing

/// Requests as options and tensors: what the forms say is what is read, and one session serves requests of any shape in any order.
@Suite struct RequestTests {
    /// A session keeps the dry run of its last request; whatever came before, each request has the bits and the memory of a new session.
    @Test func requestsOfOtherShapesFollowEachOther() throws {
        let tiny = try Tiny()
        var (noisy, stepwise) = (request([1, 2], steps: 3), request([4], steps: 5, guidance: 1))
        noisy.tensors["noise"] = .floats(try tiny.noise(2))
        stepwise["sampler"] = "ddpm"
        let requests = [
            request(), request(seed: 7), request([5, 1]), request([2]), request(steps: 6), request(guidance: 1), noisy,
            stepwise,
            request(),
        ]
        let session = try tiny.session(cached(.alternate), threads: 2)
        for order in [requests, requests.reversed()] {
            for asked in order {
                let fresh = try tiny.session(cached(.alternate), threads: 2).sample(asked)
                let result = try session.sample(asked)
                #expect(sameBits(result.state, fresh.state) && result.statistics.sites == fresh.statistics.sites)
                #expect(result.statistics.allocationsAfterFirstStep == 0)
                #expect(result.statistics.peakBytes == fresh.statistics.peakBytes)
            }
        }
    }

    @Test func optionsInEveryFormMeanTheSame() throws {
        let tiny = try Tiny()
        let session = try tiny.session()
        let expected = try session.sample(request()).state
        var tensor = request()
        tensor["labels"] = nil
        tensor.tensors["labels"] = try .integers([0, 3])
        let json = try JSON(
            parsing: #"{"labels": [0, 3.0], "steps": 4, "guidance": 4, "seed": 1, "comment": "as above"}"#,
            source: "request")
        var named = request()
        named.tensors["sampler"] = .bytes(Array("ddim".utf8))
        for same in [tensor, try SampleRequest(json), named] {
            #expect(try sameBits(session.sample(same).state, expected))
        }
    }

    @Test(arguments: [
        (#"{"labels": [0], "stepz": 3}"#, "did you mean \"steps\"?"),
        (#"{"labels": [0], "top_k": 3}"#, "no option \"top_k\""),
        (#"{"steps": 3}"#, "the option \"labels\" is missing"), (#"{"labels": ["dress"]}"#, "no names for its classes"),
        (#"{"labels": [0], "tile": "small"}"#, "tile: expected one of \"auto\", \"never\", or an integer in 8...4096"),
    ])
    func mistakesAreToldInTheFormsWords(_ text: String, _ words: String) throws {
        let session = try Tiny().session()
        let asked = try SampleRequest(JSON(parsing: text, source: "request"))
        let error = failure { _ = try session.sample(asked) }
        #expect(error?.code == .invalidArgument && error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    /// A default that is a value may be said aloud.
    @Test func statedDefaultsChangeNothing() throws {
        let tiny = try Tiny()
        let form = try tiny.model.requestForm
        var aloud = request()
        for option in form.options where aloud[option.name] as JSON? == nil {
            if case .value(let value) = option.absence { aloud[option.name] = value }
        }
        #expect(aloud.options.count >= 9)
        #expect(try sameBits(tiny.session().sample(aloud).state, tiny.session().sample(request()).state))
    }

    @Test func modelsThatCannotSampleHaveNoForm() throws {
        let directory = try ScratchDirectory()
        try TinyAutoencoder().write(directory, as: "vae")
        let model = try Model("\(directory.path)/vae")
        #expect(failure { _ = try model.requestForm }?.code == .unsupported)
    }

    @Test func eventsBringTensorsByName() throws {
        let tiny = try Tiny()
        var (names, fractions, last): ([String], [Double], [Float]) = ([], [], [])
        let result = try tiny.session().sample(request(steps: 3)) { event in
            names = event.tensorNames
            fractions.append(event.fraction)
            last = (try? event.tensor("latents"))?.tensor?.array ?? []
            #expect(failure { _ = try event.tensor("preview") }?.message.contains("latents") == true)
            return .continue
        }
        #expect(names == ["latents"] && fractions == fractions.sorted() && fractions.last == 1)
        #expect(sameBits(last, result.state))
    }

    /// Adaptive solvers and thresholds end when they are done: estimates then are bounds, and say so.
    @Test func estimatesSayWhetherTheyAreBounds() throws {
        let directory = try ScratchDirectory()
        var dit = TinyDiT()
        dit.learnsSigma = false
        let path = try dit.write(directory)
        let session = try Model(path, ModelOptions.sit).session()
        for (sampler, isBound) in [("euler", false), ("heun2", false), ("dopri5", true)] {
            let asked = SampleRequest(["labels": [1], "steps": 6, "sampler": .string(sampler)])
            let (estimate, made) = (try session.estimate(asked), try session.sample(asked).statistics.steps.count)
            #expect(estimate.isUpperBound == isBound && made <= estimate.calls && (isBound || made == estimate.calls))
        }
        let llada = try Model(TinyLanguageModel().write(to: directory, as: "llada")).session()
        for threshold in [nil, 1e-30] as [Double?] {
            var asked = SampleRequest(["tokens": [3, 4], "length": 6])
            asked["threshold"] = threshold
            let (estimate, made) = (try llada.estimate(asked), try llada.sample(asked).statistics.steps.count)
            #expect(
                estimate.isUpperBound == (threshold != nil) && (threshold == nil ? made == estimate.calls : made == 1))
        }
    }
}

extension ModelOptions {
    /// A DiT's network as a flow.
    fileprivate static var sit: ModelOptions {
        var options = ModelOptions()
        options.family = "sit"
        return options
    }
}
