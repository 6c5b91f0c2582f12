import DiffAccel
import DiffCheckpoint
import TestSupport
import Testing

/// CoDe: a drafter, a refiner, and where one hands over to the other.
@Suite struct CollaborativeDecodingTests {
    @Test(arguments: [1, 2, 3])
    func aDrafterThatIsItsOwnRefinerIsThePlainModel(_ draftScales: Int) throws {
        let pair = try VARPair()
        let plain = try pair.session().sample(scaleRequest())
        let session = try pair.session(Plan([CollaborativePlan(draftScales: draftScales)]), partner: pair.drafter)
        let result = try session.sample(scaleRequest())
        #expect(result.scaleTokens == plain.scaleTokens && sameBits(result.state, plain.state))
        #expect(result.statistics.steps.map(\.network) == [0, 1, 2, 3].map { $0 < draftScales ? 0 : 1 })
        #expect(result.statistics.weightBytes == plain.statistics.weightBytes, "weights that are shared count once")
    }

    @Test func aRefinerTakesOverWhereThePlanSays() throws {
        let pair = try VARPair()
        let plain = try pair.session().sample(scaleRequest())
        for n in 1...3 {
            let result = try pair.collaborating(n).sample(scaleRequest())
            let drafted = pair.drafted(n)
            #expect(result.scaleTokens.prefix(drafted) == plain.scaleTokens.prefix(drafted))
            #expect(result.scaleTokens != plain.scaleTokens)
            #expect(result.statistics.flops < plain.statistics.flops)
            let sites = result.statistics.steps.map(\.sites.computed)
            #expect(sites == [0, 1, 2, 3].map { $0 < n ? 4 : 2 }, "two sites for each block of the network that runs")
        }
    }

    @Test func planFilesNameARefinerBesideThem() throws {
        let pair = try VARPair()
        let entry = JSON.object([
            "method": .string("code"), "refiner": .string("refiner"), "draft_scales": .integer(2),
        ])
        try pair.directory.write(entry, as: "code.json")
        let plan = try Plan(contentsOf: "\(pair.directory.path)/code.json")
        let expected = try pair.collaborating(2).sample(scaleRequest()).scaleTokens
        #expect(try pair.session(plan).sample(scaleRequest()).scaleTokens == expected)
        // Written and read again beside the refiner.
        try plan.save(to: pair.directory.file("again.json"))
        let again = try Plan(contentsOf: "\(pair.directory.path)/again.json")
        #expect(try pair.session(again).sample(scaleRequest()).scaleTokens == expected)
        // As text the name is a path of the caller.
        let text = Plan([CollaborativePlan(refiner: "\(pair.directory.path)/refiner", draftScales: 2)])
        #expect(try pair.session(text).sample(scaleRequest()).scaleTokens == expected)
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
            let pair = try VARPair(drafter, refiner: other)
            let error = failure { _ = try pair.collaborating(2) }
            #expect(error?.code == .incompatible && error?.message.contains(name) == true, "\(name): \(error as Any)")
        }
        let pair = try VARPair()
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
}
