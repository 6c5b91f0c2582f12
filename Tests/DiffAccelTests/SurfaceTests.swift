import DiffAccel
import TestSupport
import Testing

/// What a Swift program meets first: defaults, names of classes, plans by name, and what printing shows.
@Suite struct SurfaceTests {
    @Test func stepsComeFromThePlanThenFromTheLibrary() throws {
        let tiny = try Tiny()
        let learned = try tiny.router(steps: 7)
        func steps(_ plan: Plan, _ change: (inout SampleRequest) -> Void = { _ in }) throws -> Int {
            var request = SampleRequest(["labels": [1]])
            change(&request)
            return try tiny.session(plan).sample(request).statistics.steps.count
        }
        #expect(try steps(Plan()) == 50)
        #expect(try steps(cached(.learned(learned))) == 7)
        #expect(try steps(cached(.shuffled(learned, seed: 1))) == 7)
        #expect(try steps(Plan()) { $0["spacing"] = "3,2" } == 5)
        #expect(try steps(Plan()) { $0["steps"] = 3 } == 3)
        #expect(failure { _ = try steps(cached(.learned(learned))) { $0["steps"] = 6 } }?.code == .incompatible)
        #expect(try tiny.model.preview(cached(.learned(learned))).timesteps.count == 7)
        #expect(try tiny.model.preview(Plan()).timesteps.count == 50)
    }

    @Test func classesHaveNames() throws {
        let names = ["tench, Tinca tinca", "crane", "goldfish", "crane, bird", "Bag"]
        var options = ModelOptions()
        options.config = TinyDiT().config(labels: names)
        let model = try Tiny(TinyDiT(), options).model
        #expect(model.classNames.texts == names)
        for (name, index) in [
            ("tench", 0), ("TINCA TINCA", 0), (" tench, tinca tinca ", 0), ("bag", 4), ("3", 3), ("crane", 1),
        ] {
            #expect(try model.classIndex(named: name) == index, "\(name)")
        }
        let typo = failure { _ = try model.classIndex(named: "goldfsh") }
        #expect(typo?.code == .invalidArgument && typo?.message.contains("did you mean \"goldfish\"?") == true)
        #expect(failure { _ = try model.classIndex(named: "") }?.code == .invalidArgument)
        #expect(failure { _ = try Tiny().model.classIndex(named: "bag") }?.message.contains("no names") == true)
    }

    @Test func synonymsOfSeveralClassesAreRefused() throws {
        var options = ModelOptions()
        options.config = TinyDiT().config(labels: ["crane, machine", "a", "crane, bird", "b", "c"])
        let problem = failure { _ = try Tiny(TinyDiT(), options).model.classIndex(named: "crane") }
        #expect(problem?.message.contains("0 and 2") == true)
    }

    @Test func plansAreNamedByFileOrWord() throws {
        let directory = try ScratchDirectory()
        let path = "\(directory.path)/alternate"
        try cached(.interval(every: 4)).save(to: path)
        #expect(try Plan(named: path).json == cached(.interval(every: 4)).json)
        #expect(try Plan(named: "alternate").json == cached(.alternate).json)
        #expect(failure { _ = try Plan(named: "\(path).json") }?.code == .io)
        #expect(failure { _ = try Plan(named: "") }?.code == .io)
        #expect(failure { _ = try Plan(named: "interval:0") }?.code == .invalidArgument)
    }

    @Test func resultsSayWhatTheyAre() throws {
        let tiny = try Tiny()
        let session = try tiny.session(cached(.alternate))
        let result = try session.sample(request([0, 3], steps: 2))
        #expect("\(result)".hasPrefix("2 ddim steps, ") && "\(result)".hasSuffix("latents \(result.tensors[0].shape)"))
        #expect("\(session)".contains("l2c") && "\(tiny.model)".hasPrefix("dit model \(tiny.path)"))
        guard case .object(let members) = result.json else { return #expect(Bool(false)) }
        #expect(members["tensors"] == .object(["latents": .array(result.tensors[0].shape.dims.map { .integer($0) })]))
    }
}
