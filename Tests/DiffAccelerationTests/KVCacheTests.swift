import DiffAcceleration
import DiffCheckpoint
import DiffSampling
import DiffTensor
import Testing

/// The worked example of the method's description: eight positions, a prompt of two, one token a step in the order 4, 2, 7, 3, 6, 5.
@Suite struct KVCacheTests {
    private let order = [4, 2, 7, 3, 6, 5]

    /// What networks of these families say of themselves.
    private func layout(_ family: String) -> SiteLayout {
        let traits: Set<NetworkTrait> =
            switch family {
            case "llada", "illada": [.storesKeysAndValues, .predictsInPlace]
            case "dream": [.storesKeysAndValues, .predictsNext]
            default: []
            }
        var layout = SiteLayout(family: family, traits)
        _ = layout.add("block", .block)
        return layout
    }

    private func selection(_ plan: KVCachePlan) throws -> any PositionSelection {
        try #require(plan.makeAcceleration() as? any PositionSelection)
    }

    private func queries(_ plan: KVCachePlan, predictsNext: Bool) throws -> [[Int]] {
        let cache = try selection(plan)
        _ = try cache.begin(SamplingContext(layouts: [layout("llada")], calls: 6, rows: 1))
        var masked = Array(repeating: true, count: 8)
        (masked[0], masked[1]) = (false, false)
        var result: [[Int]] = []
        for step in 0..<6 {
            var queries = PositionSet(all: 8)
            try cache.selectQueries(
                UnmaskingRound(
                    sample: 0, step: step, stepInBlock: step, block: 2..<8,
                    masked: PositionSet(of: 8) { [masked] in masked[$0] },
                    revealed: step > 0 ? [order[step - 1]] : [], revealing: [order[step]], predictsNext: predictsNext),
                &queries)
            result.append(queries.positions)
            masked[order[step]] = false
        }
        return result
    }

    private let all = Array(0..<8)

    @Test func decodeOnLLaDA() throws {
        let queries = try queries(KVCachePlan(.decode, refresh: 4), predictsNext: false)
        #expect(queries == [all, all, [2, 3, 5, 6, 7], [3, 5, 6, 7], all, [5, 6]])
    }

    @Test func greedyWithoutAndWithWindow() throws {
        #expect(
            try queries(KVCachePlan(.greedy, refresh: 4), predictsNext: false)
                == [all, [2, 4], [2, 7], [3, 7], all, [5, 6]])
        #expect(try queries(KVCachePlan(.greedy, refresh: 4, window: 2), predictsNext: false)[1] == [2, 3, 4, 5])
    }

    @Test func decodePrefillAndPDOnDream() throws {
        let prompt = Array(1..<8)
        #expect(
            try queries(KVCachePlan(.decode, refresh: 4), predictsNext: true)
                == [all, prompt, [1, 2, 4, 5, 6], [2, 4, 5, 6], all, [4, 5]])
        #expect(
            try queries(KVCachePlan(.pd, refresh: 4), predictsNext: true)
                == [all, prompt, [1, 2, 4, 5, 6], [2, 4, 5, 6], prompt, [4, 5]])
        #expect(
            try queries(KVCachePlan(.prefill), predictsNext: true) == [all, prompt, prompt, prompt, prompt, prompt])
    }

    /// Masks in the prompt: the first position is computed while it is masked, and what prefill never computes again holds a token.
    @Test func masksInThePromptOfDream() throws {
        var masked = [true, false, true, false, true, true]
        func queries(_ plan: KVCachePlan) throws -> [[Int]] {
            let cache = try selection(plan)
            _ = try cache.begin(SamplingContext(layouts: [layout("dream")], calls: 3, rows: 1))
            masked = [true, false, true, false, true, true]
            return try (0..<3).map { step in
                var queries = PositionSet(all: 6)
                try cache.selectQueries(
                    UnmaskingRound(
                        sample: 0, step: step, stepInBlock: step, block: 0..<6,
                        masked: PositionSet(of: 6) { [masked] in masked[$0] }, revealed: [], revealing: [],
                        predictsNext: true), &queries)
                masked[2] = false
                return queries.positions
            }
        }
        let all = Array(0..<6)
        #expect(try queries(KVCachePlan(.prefill)) == [all, all, all])
        // Of the flags of the step before: position 2's successor holds a token.
        #expect(try queries(KVCachePlan(.decode, refresh: 8)) == [all, [0, 1, 3, 4, 5], [0, 3, 4, 5]])
        #expect(try queries(KVCachePlan(.decode, refresh: 8, shift: .unRight))[2] == [0, 3, 4, 5])
    }

    @Test func fastVariants() throws {
        #expect(try queries(KVCachePlan(.prefix), predictsNext: false)[1...].allSatisfy { $0 == Array(2..<8) })
        #expect(try queries(KVCachePlan(.dual), predictsNext: false)[0] == all)
    }

    /// Only the greedy rule needs to know what a step will reveal.
    @Test(arguments: KVCachePlan.Variant.allCases)
    func greedyAloneFixesTheOrder(_ variant: KVCachePlan.Variant) throws {
        #expect(try selection(KVCachePlan(variant)).fixesOrder == (variant == .greedy))
    }

    @Test func aRefreshInEveryStepAsksForNothing() throws {
        for variant in [KVCachePlan.Variant.decode, .greedy] {
            let cache = try KVCachePlan(variant, refresh: 1).makeAcceleration()
            #expect(try cache.begin(SamplingContext(layouts: [layout("llada")], calls: 1, rows: 1)).isEmpty)
        }
        // These never refresh the prompt, or not by steps.
        for variant in [KVCachePlan.Variant.pd, .prefill, .prefix, .dual] {
            let cache = try KVCachePlan(variant, refresh: 1).makeAcceleration()
            #expect(try !cache.begin(SamplingContext(layouts: [layout("dream")], calls: 1, rows: 1)).isEmpty)
        }
    }

    @Test(arguments: [
        #"{"method":"dkv","variant":"decode","refresh":8}"#,
        #"{"method":"dkv","variant":"greedy","refresh":2,"window":4}"#,
        #"{"method":"dkv","variant":"pd","refresh":4,"shift":"un_right"}"#, #"{"method":"dkv","variant":"prefill"}"#,
        #"{"method":"dkv","variant":"dual"}"#,
    ])
    func plansAreReadAndWritten(_ text: String) throws {
        let plan = try Plan(JSON(parsing: text, source: "test"), source: "test")
        let again = try Plan(plan.json, source: "again")
        #expect((plan.entries.first as? KVCachePlan) == (again.entries.first as? KVCachePlan))
    }

    @Test(arguments: [
        #"{"method":"dkv"}"#, #"{"method":"dkv","variant":"all"}"#, #"{"method":"dkv","variant":"decode","refresh":0}"#,
        #"{"method":"dkv","variant":"prefill","refresh":4}"#, #"{"method":"dkv","variant":"decode","window":4}"#,
        #"{"method":"dkv","variant":"decode","shift":"right"}"#,
    ])
    func badPlansAreRefused(_ text: String) throws {
        #expect(throws: DiffError.self) { _ = try Plan(JSON(parsing: text, source: "test"), source: "test") }
    }

    @Test func plansAreCheckedAgainstTheFamily() throws {
        for (variant, families) in [
            (KVCachePlan.Variant.decode, ["llada", "illada", "dream"]), (.greedy, ["llada", "illada"]),
            (.prefix, ["llada", "illada", "dream"]), (.dual, ["llada", "illada", "dream"]), (.prefill, ["dream"]),
            (.pd, ["dream"]),
        ] {
            for family in ["llada", "illada", "dream", "dit"] {
                let plan = Plan([try KVCachePlan(variant)])
                if families.contains(family) {
                    try plan.check([layout(family)])
                } else {
                    #expect(throws: DiffError.self) { try plan.check([layout(family)]) }
                }
            }
        }
        // Layer caching has nothing to keep in a language model.
        let both = Plan([try KVCachePlan(.decode), LayerCachePlan(.alternate)])
        #expect(throws: DiffError.self) { try both.check([layout("llada")]) }
    }
}
