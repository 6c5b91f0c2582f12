import DiffAccel
import DiffCheckpoint
import DiffTensor
import Foundation
import TestSupport
import Testing

/// Networks in components that work at the same time on what the others gave in the call before.
@Suite struct AsyncDiffTests {
    private let directory: ScratchDirectory
    private let subjects: [AsyncSubject]

    init() throws {
        directory = try ScratchDirectory()
        subjects = try AsyncSubject.all(directory)
    }

    private func plan(
        _ components: Int, stride: Int = 1, warmUp: Int = 1, shift: Bool = false, _ variant: AsyncPlan.Variant = .paper,
        _ split: AsyncPlan.Split? = nil, _ executor: AsyncPlan.Executor = .sequential
    ) throws -> Plan {
        Plan([
            try AsyncPlan(
                components: components, stride: stride, warmUp: warmUp, timeShift: shift, variant: variant,
                split: split, executor: executor)
        ])
    }

    private func modules(_ subject: AsyncSubject, _ plan: Plan) throws -> [[String]] {
        try subject.model.preview(plan, steps: 4).components.map(\.modules)
    }

    /// The settings whose results are compared.
    private static let settings: [(Int, Int, Bool, AsyncPlan.Variant)] = [
        (1, 1, false, .paper), (1, 3, true, .paper), (2, 1, false, .paper), (2, 1, true, .released),
        (2, 2, false, .paper),
        (2, 3, true, .paper), (2, 1, false, .released),
    ]

    @Test(arguments: 0..<4) func resultsAreThoseOfTheSimulation(_ number: Int) throws {
        let subject = subjects[number]
        // As many as there are modules, at most.
        for components in 2...[4, 2, 3, 4][number] {
            for (stride, warmUp, shift, variant) in Self.settings {
                let note = Comment("\(subject.name), \(components), stride \(stride), \(warmUp), \(shift), \(variant)")
                // Those of the preview's size: a balanced cut is made for each size.
                let lists = try modules(subject, plan(components))
                let ours = try plan(
                    components, stride: stride, warmUp: warmUp, shift: shift, variant, .modules(lists))
                let simulation = PlainAsync(
                    lists, stride: stride, warmUp: warmUp, timeShift: shift, isReleased: variant == .released)
                let (found, expected) = (try subject.run(ours), try subject.run(Plan([simulation])))
                #expect(sameBits(found.state, expected.state), note)
                #expect(found.statistics.allocationsAfterFirstStep == 0, note)
                // The simulation keeps every output.
                #expect(found.statistics.cacheBytes > 0, note)
                for threads in 1...3 {
                    let aside = try plan(
                        components, stride: stride, warmUp: warmUp, shift: shift, variant, .modules(lists), .threads)
                    let result = try subject.run(aside, threads: threads)
                    #expect(sameBits(result.state, expected.state), note)
                    #expect(result.statistics.allocationsAfterFirstStep == 0, note)
                }
            }
        }
    }

    @Test(arguments: 0..<4) func wholeEvaluationsAreTheBaseline(_ number: Int) throws {
        let subject = subjects[number]
        let plain = try subject.run(Plan())
        for warmUp in [9, 1000] {
            let neutral = try subject.run(plan(2, stride: 2, warmUp: warmUp))
            #expect(sameBits(neutral.state, plain.state) && neutral.statistics.flops == plain.statistics.flops)
            #expect(neutral.statistics.cacheBytes == 0)
        }
        #expect(try !sameBits(subject.run(plan(2)).state, plain.state))
    }

    @Test(arguments: 0..<4, [AsyncPlan.Executor.sequential, .threads])
    func lanesOfGuidanceAreKeptApart(_ number: Int, _ executor: AsyncPlan.Executor) throws {
        let subject = subjects[number]
        for (stride, warmUp, shift, variant) in Self.settings.prefix(4) {
            let ours = try plan(2, stride: stride, warmUp: warmUp, shift: shift, variant, nil, executor)
            let batched = try subject.run(ours)
            for execution in ["lanes", "split"] {
                for threads in [1, 4] {
                    let result = try subject.run(ours, threads: threads) {
                        $0["guidance_execution"] = .string(execution)
                    }
                    #expect(sameBits(result.state, batched.state), "\(subject.name), \(execution), \(threads) threads")
                }
            }
        }
    }

    @Test func theDryRunForeseesMemoryAndOperations() throws {
        for subject in subjects {
            for (stride, executor) in [
                (1, AsyncPlan.Executor.sequential), (2, .sequential), (1, .threads), (2, .threads),
            ] {
                let ours = try plan(2, stride: stride, .paper, nil, executor)
                var options = SessionOptions()
                options.threads = 2
                let estimate = try subject.model.session(ours, options).estimate(subject.request)
                let found = try subject.run(ours).statistics
                #expect(estimate.cache == found.cacheBytes && estimate.sites == found.sites)
                #expect(estimate.flops == found.flops)
                options.memoryLimit = found.peakBytes
                let exact = try subject.model.session(ours, options)
                #expect(try sameBits(exact.sample(subject.request).state, subject.run(ours).state))
                options.memoryLimit = found.peakBytes - 1
                let less = try subject.model.session(ours, options)
                #expect(failure { _ = try less.sample(subject.request) }?.code == .overBudget)
            }
        }
    }

    /// Two predictions of one evaluation: about (1 + the share of the last component) / 2 of the work, half of it where nothing of the last
    /// component is read by others and the second prediction is the first one again.
    @Test func strideTwoSavesWhatItShould() throws {
        let subject = subjects[0]
        let plain = try subject.run(Plan()).statistics.flops
        let share = try #require(try subject.model.preview(plan(2, stride: 2), steps: 9).components.last).share
        // Of nine calls one is whole, four evaluate.
        let paper = try subject.run(plan(2, stride: 2)).statistics.flops / plain
        #expect(abs(paper - (1 + 4 * (1 + share)) / 9) < 0.05)
        let released = try subject.run(plan(2, stride: 2, .released)).statistics.flops / plain
        #expect(abs(released - (1 + 4.0) / 9) < 0.05)
    }

    @Test func measuredCutsStayForTheSession() throws {
        let subject = subjects[0]
        var options = SessionOptions()
        options.threads = 1
        let session = try subject.model.session(plan(3, .paper, .measured), options)
        let first = try session.sample(subject.request)
        #expect(try sameBits(session.sample(subject.request).state, first.state))
        // Told in a form that ranks take.
        let found = first.statistics.components.map(\.modules)
        #expect(found.count == 3 && first.statistics.json.serialized().contains(#""components""#))
        #expect(try sameBits(subject.run(plan(3, .paper, .modules(found))).state, first.state))
        let error = failure { _ = try subject.run(plan(2, .paper, .measured)) { $0["guidance_execution"] = "split" } }
        #expect(error?.code == .incompatible && error?.message.contains("guidance_execution") == true)
    }

    @Test func componentsAreToldWithWhatCrosses() throws {
        let preview = try subjects[1].model.preview(plan(2), steps: 4)
        let parts = preview.components
        #expect(parts.map(\.modules) == [["blocks.0"], ["blocks.1"]])
        #expect(parts.map(\.share) == [0.5, 0.5])
        let dit = TinyDiT()
        let tokens = (dit.inputSize / dit.patchSize) * (dit.inputSize / dit.patchSize)
        // Of one sample without guidance, or both halves.
        #expect(parts[0].receives == [] && parts[1].receives.map(\.from) == [0])
        #expect(parts[1].receives[0].bytes % (tokens * dit.width * 4) == 0)
        let json = preview.json.serialized()
        #expect(json.contains(#""components""#) && json.contains(#""receives""#))
        #expect(try !subjects[1].model.preview(Plan(), steps: 4).json.serialized().contains(#""components""#))
    }

    @Test func fewCallsAreWarnedOf() throws {
        let warnings = Warnings()
        Log.set(.warning) { warnings.add($1) }
        defer { Log.set(.error, nil) }
        _ = try subjects[1].run(plan(2))
        #expect(warnings.all.count == 1 && warnings.all[0].contains("9 calls"))
        _ = try subjects[1].run(plan(2)) { $0["steps"] = 15 }
        _ = try subjects[1].run(plan(2, warmUp: 9))
        #expect(warnings.all.count == 1)
    }

    @Test func whatCannotBeIsRefusedByName() throws {
        func refusal(_ split: AsyncPlan.Split, _ subject: Int = 0) throws -> String {
            let count = if case .modules(let lists) = split { lists.count } else { 2 }
            let plan = try plan(count, .paper, split)
            let error = failure { _ = try subjects[subject].model.session(plan) }
            #expect(error?.code == .incompatible)
            return error?.message ?? ""
        }
        #expect(try refusal(.official).contains("balanced"))
        #expect(try refusal(.official, 1).contains("balanced"))
        let down = ["conv_in", "down_blocks"]
        #expect(
            try refusal(.modules([down, ["mid_block", "up_blocks", "up_block.1", "conv_out"]])).contains("did you mean")
        )
        #expect(try refusal(.modules([down, ["up_blocks", "conv_out"]])).contains("mid_block"))
        #expect(try refusal(.modules([down, ["mid_block", "up_blocks", "conv_in"]])).contains("in two components"))
        #expect(try refusal(.modules([down + ["mid_block", "up_blocks", "conv_out"], []])).contains("no module"))
        let twice = ["mid_block", "mid_block.attentions.0.transformer_blocks.0", "up_blocks", "conv_out"]
        #expect(try refusal(.modules([down, twice])).contains("named too"))
        #expect(failure { _ = try subjects[1].model.session(plan(3)) }?.code == .incompatible)
        let error = failure { _ = try subjects[1].run(plan(2)) { $0["sampler"] = "dopri5" } }
        #expect(error != nil)
        for word in ["async", "async:1", "async:5", "async:2:3", "async:2:1:0", "async:2:1:1:1", "async:x"] {
            #expect(failure { _ = try Plan(word: word) }?.code == .invalidArgument, "\(word)")
        }
        #expect(try Plan(word: "async:3:2:5").json == plan(3, stride: 2, warmUp: 5).json)
    }

    @Test func partsOfATransformerMayBeModules() throws {
        var unet = TinyUNet()
        unet.blocks = 2
        let model = try Model(unet.writePipeline(directory, as: "deep"))
        let inner = "mid_block.attentions.0.transformer_blocks"
        let lists = [
            ["conv_in", "down_blocks", "mid_block.resnets.0", "\(inner).0"],
            ["\(inner).1", "mid_block.resnets.1", "up_blocks", "conv_norm_out", "conv_out"],
        ]
        let subject = AsyncSubject(name: "deep", model: model, request: subjects[0].request)
        let ours = try subject.run(plan(2, .paper, .modules(lists)))
        let preview = try model.preview(plan(2, .paper, .modules(lists)), steps: 4)
        let simulation = PlainAsync(
            preview.components.map(\.modules), stride: 1, warmUp: 1, timeShift: false, isReleased: false)
        #expect(try sameBits(ours.state, subject.run(Plan([simulation])).state))
    }

    @Test func plansAreReadBackEqual() throws {
        for split in [nil, AsyncPlan.Split.official, .balanced, .measured, .modules([["a", "b"], ["c"]])] {
            for executor in AsyncPlan.Executor.allCases {
                let before = try plan(2, stride: 2, warmUp: 7, shift: true, .released, split, executor)
                let after = try Plan(before.json, source: "plan")
                #expect(after.entries.first as? AsyncPlan == before.entries.first as? AsyncPlan)
            }
        }
        let listed = try Plan(
            JSON(parsing: #"{"method": "async", "split": [["a"], ["b"], ["c"]]}"#, source: "plan"), source: "plan")
        #expect((listed.entries.first as? AsyncPlan)?.components == 3)
    }
}

/// What the library logged.
private final class Warnings: @unchecked Sendable {
    private let lock = NSLock()
    private var texts: [String] = []
    func add(_ text: String) { lock.withLock { texts.append(text) } }
    var all: [String] { lock.withLock { texts } }
}
