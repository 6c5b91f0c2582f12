import DiffAccel
import TestSupport
import Testing

/// Which methods stack: `Plan.stacking` says so, and what it says is tried out.
@Suite struct StackingTests {
    /// A small model with a request that fits it.
    private struct Stage {
        let name: String
        let model: Model
        let request: SampleRequest

        func run(_ entries: [any PlanEntry]) throws -> SampleResult {
            var options = SessionOptions()
            options.threads = 1
            return try model.session(Plan(entries), options).sample(request)
        }

        /// Whether the model works with this method at all.
        func takes(_ entry: any PlanEntry) -> Bool { failure { _ = try model.session(Plan([entry])) } == nil }
    }

    /// An entry that changes the result, and one that leaves it as it is; nil: the method has no such setting.
    /// `blocks` are those of the model.
    private static func entries(
        _ method: String, blocks: Int = 3
    ) throws -> (acting: any PlanEntry, neutral: (any PlanEntry)?) {
        switch method {
        case "async": (try AsyncPlan(components: 2), try AsyncPlan(components: 2, warmUp: 1000))
        case "code": (CollaborativePlan(draftScales: 2), nil)
        case "deepcache": (try DeepCachePlan(interval: 2), try DeepCachePlan(interval: 1))
        case "depth": (try DepthPlan(keep: [0, 2]), try DepthPlan(keep: Array(0..<blocks)))
        case "dkv": (try KVCachePlan(.decode, refresh: 3), try KVCachePlan(.decode, refresh: 1))
        case "l2c": (LayerCachePlan(.alternate), LayerCachePlan(.none))
        case "litefocus": (try LiteFocusPlan(levels: [0, 1]), try LiteFocusPlan(sameFrequency: false, ratio: 1))
        default: throw DiffError(.internal, "say here what an entry of \"\(method)\" is")
        }
    }

    private let directory: ScratchDirectory
    private let stages: [Stage]

    init() throws {
        let directory = try ScratchDirectory()
        self.directory = directory
        var dit = TinyDiT()
        dit.depth = 3
        let text = SampleRequest(["tokens": [[3, 4, 5]], "length": 8])
        var stages = [
            Stage(name: "dit", model: try Model(dit.write(directory)), request: request()),
            Stage(name: "var", model: try Model(TinyVAR().write(directory)), request: scaleRequest()),
        ]
        for isDream in [false, true] {
            var tiny = TinyLanguageModel()
            (tiny.isDream, tiny.layers) = (isDream, 3)
            let name = isDream ? "dream" : "llada"
            stages.append(
                Stage(name: name, model: try Model(tiny.write(to: directory, as: name)), request: text))
        }
        let tiny = TinyUNet()
        var numbers = Numbers(7)
        let states = try numbers.tensor([1, 3, tiny.textWidth])
        stages.append(
            Stage(
                name: "stable_diffusion", model: try Model(tiny.writePipeline(directory)),
                request: SampleRequest(
                    ["steps": 6, "sampler": "ddim", "guidance": 1], tensors: ["prompt_embeds": .floats(states)])))
        let audio = TinyAudio()
        stages.append(
            Stage(
                name: "audioldm", model: try Model(audio.write(directory)),
                request: audio.request(try numbers.tensor([1, audio.unet.classWidth]))))
        self.stages = stages
    }

    /// A new method without its rows fails here.
    @Test func everyPairOfMethodsIsThereOnce() {
        let names = Plan.methodNames
        #expect(Plan.stacking.count == names.count * (names.count + 1) / 2)
        for (index, first) in names.enumerated() {
            for second in names[index...] {
                let rules = Plan.stacking.filter {
                    ($0.first, $0.second) == (first, second) || ($0.second, $0.first) == (first, second)
                }
                #expect(rules.count == 1, "\(first) and \(second)")
            }
        }
    }

    @Test(arguments: Plan.stacking.filter { $0.verdict == .allowed })
    func whatStacksRunsAndIsNeutralWhereItsPartsAre(_ rule: StackingRule) throws {
        let (first, second) = (try Self.entries(rule.first), try Self.entries(rule.second))
        let able = stages.filter { $0.takes(first.acting) && $0.takes(second.acting) }
        #expect(!able.isEmpty, "no model takes both: then they do not stack")
        for stage in able {
            let blocks = stage.model.layout.blockCount
            let (first, second) = (
                try Self.entries(rule.first, blocks: blocks), try Self.entries(rule.second, blocks: blocks)
            )
            let plain = try stage.run([])
            for pair in [[first, second], [second, first]] {
                let both = try stage.run(pair.map(\.acting))
                for single in pair {
                    let flops = try stage.run([single.acting]).statistics.flops
                    #expect(both.statistics.flops < flops, "\(stage.name): each of them saves something")
                }
                let neutral = try pair.map { try #require($0.neutral) }
                let result = try stage.run(neutral)
                #expect(same(result, plain) && result.statistics.flops == plain.statistics.flops, "\(stage.name)")
                // One that acts beside one that does not is as if alone.
                #expect(same(try stage.run([pair[0].acting, neutral[1]]), try stage.run([pair[0].acting])))
                #expect(same(try stage.run([neutral[0], pair[1].acting]), try stage.run([pair[1].acting])))
            }
        }
    }

    @Test(arguments: Plan.stacking.filter { $0.verdict != .allowed })
    func whatDoesNotStackIsRefusedWithTheReason(_ rule: StackingRule) throws {
        guard case .forbidden(let reason) = rule.verdict else { return }
        #expect(!reason.isEmpty)
        let (first, second) = (try Self.entries(rule.first).acting, try Self.entries(rule.second).acting)
        for entries in [[first, second], [second, first]] {
            for stage in stages {
                let error = failure { _ = try stage.model.session(Plan(entries)) }
                #expect(error?.code == .incompatible && error?.message.hasSuffix(reason) == true, "\(stage.name)")
                for name in [rule.first, rule.second] { #expect(error?.message.contains("\"\(name)\"") == true) }
            }
        }
    }

    @Test func methodsFromOutsideStackWithAllOfThem() throws {
        for method in Plan.methodNames {
            let entry = try Self.entries(method).acting
            let rest = RestPlan(block: 0)
            for entries in [[entry, rest], [rest, entry]] as [[any PlanEntry]] {
                #expect(failure { try Plan(entries).checkStacking() } == nil, "\(method)")
            }
        }
        let twice = try stages[0].run([RestPlan(block: 0), RestPlan(block: 1)])
        #expect(twice.statistics.sites.reused == 4, "two blocks in two of four calls")
    }

    private func same(_ a: SampleResult, _ b: SampleResult) -> Bool {
        sameBits(a.state, b.state) && a.tokens == b.tokens
    }
}
