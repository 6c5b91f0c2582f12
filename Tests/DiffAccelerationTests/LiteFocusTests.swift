import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import TestSupport
import Testing

/// A network of two levels as U-Nets have them: a middle without a level, `transformers` of two blocks after a resnet.
private func twoLevels(
    transformers: Int = 4, _ traits: Set<NetworkTrait> = [.coversTimeAndFrequency]
) -> SiteLayout {
    var layout = SiteLayout(family: "test", traits)
    for (name, level) in [("down_blocks.0", 0), ("down_blocks.1", 1), ("mid_block", nil), ("up_blocks.0", 1)]
        as [(String, Int?)]
    {
        let stage = layout.add(name, .stage, level: level)
        for resnet in 0..<2 {
            _ = layout.add("\(name).resnets.\(resnet)", .resnet, in: stage)
            guard level != 0 else { continue }
            for transformer in 0..<transformers {
                let path = "\(name).attentions.\(resnet * transformers + transformer)"
                let site = layout.add(path, .stage, in: stage)
                for block in 0..<2 {
                    let own = layout.add("\(path).transformer_blocks.\(block)", .block, in: site)
                    for attention in ["attn1", "attn2"] {
                        _ = layout.add("\(path).transformer_blocks.\(block).\(attention)", .attention, in: own)
                    }
                }
            }
        }
    }
    return layout
}

@Suite struct LiteFocusTests {
    private func read(_ json: [String: JSON]) throws -> LiteFocusPlan {
        let object = JSON.object(json.merging(["method": .string("litefocus")]) { first, _ in first })
        let plan = try Plan(object, source: "plan")
        return try #require(plan.entries.first as? LiteFocusPlan)
    }

    @Test func anEntryIsWhatItsJSONSays() throws {
        let plain = try read([:])
        #expect(try plain == LiteFocusPlan() && plain.ratio == 0.1 && plain.levels == [1] && plain.scope == .official)
        #expect(plain.sameFrequency && plain.crossFrequency && !plain.deduplicates && plain.keys == .call)
        #expect(plain.seed == nil && plain.window == 0)
        let other = try read([
            "same_frequency": .bool(false), "ratio": .number(0.5), "levels": .array([.integer(0), .integer(2)]),
            "scope": .string("all"), "deduplicate": .bool(true), "keys": .string("run"), "seed": .integer(7),
            "window": .integer(12),
        ])
        #expect(
            other.seed == 7 && other.window == 12 && other.keys == .run && other.scope == .all
                && other.levels == [0, 2])
        for plan in [plain, other] {
            let again = try Plan(plan.json, source: "plan").entries.first as? LiteFocusPlan
            #expect(again == plan)
        }
        #expect(try Plan(word: "litefocus").entries.first as? LiteFocusPlan == LiteFocusPlan())
        #expect(try Plan(word: "litefocus:0.25").entries.first as? LiteFocusPlan == LiteFocusPlan(ratio: 0.25))
    }

    @Test(arguments: [
        ["ratio": JSON.number(-0.1)], ["ratio": .number(1.5)], ["ratio": .number(.nan)], ["levels": .array([])],
        ["levels": .array([.integer(8)])], ["levels": .integer(1)], ["scope": .string("some")],
        ["keys": .string("never")], ["same_frequency": .bool(false), "cross_frequency": .bool(false)],
        ["same_frequency": .bool(false), "ratio": .integer(0)], ["seed": .integer(-1)], ["ratios": .number(0.1)],
        ["early_ratio": .number(2)], ["early_steps": .number(-1)],
        ["same_frequency": .bool(false), "early_ratio": .integer(0)], ["window": .integer(-1)],
        ["window": .number(0.5)], ["window": .string("2 s")],
    ])
    func whatMeansNothingIsRefusedByName(_ members: [String: JSON]) {
        do {
            _ = try read(members)
            Issue.record("\(members) was taken")
        } catch let error as DiffError {
            #expect(error.code == .format)
            #expect(members.keys.contains { error.message.contains($0) }, "\(error.message)")
        } catch { Issue.record("\(error)") }
    }

    @Test(arguments: ["litefocus:", "litefocus:x", "litefocus:2", "litefocus:-1", "litefocus:0.1:2", "litefocus:nan"])
    func wordsOfAnotherFormAreRefused(_ word: String) {
        #expect { try Plan(word: word) } throws: {
            ($0 as? DiffError)?.code == .invalidArgument
                && ($0 as? DiffError)?.message.contains("litefocus[:RATIO]") == true
        }
    }

    @Test func itNeedsAGridAndAttentionOnTheLevel() throws {
        func refusal(_ plan: LiteFocusPlan, _ layout: SiteLayout) -> String {
            do {
                try plan.check([layout])
                return ""
            } catch { return error.code == .incompatible ? error.message : "\(error)" }
        }
        #expect(try refusal(LiteFocusPlan(), twoLevels()).isEmpty)
        #expect(try refusal(LiteFocusPlan(), twoLevels([])).contains("grid of times and frequencies"))
        #expect(try refusal(LiteFocusPlan(levels: [0]), twoLevels()).contains("levels"))
        #expect(try refusal(LiteFocusPlan(levels: [1, 2]), twoLevels()).contains("level 2; there is attention on 1"))
    }

    private func hooks(_ method: LiteFocus, _ layout: SiteLayout) throws -> [String] {
        let context = SamplingContext(layouts: [layout], calls: 4, rows: 1)
        let hooks = try method.begin(context)
        #expect(hooks.separatesLanes && hooks.modules.isEmpty && !hooks.evaluations)
        return layout.sites.indices.compactMap { number in
            layout.site(at: number).flatMap { hooks.attention.contains($0) ? layout.info($0).name : nil }
        }
    }

    @Test func theScopeIsThatOfTheAuthorsOrAll() throws {
        for transformers in [1, 3, 4] {
            let layout = twoLevels(transformers: transformers)
            let official = try hooks(LiteFocus(LiteFocusPlan()), layout)
            let all = try hooks(LiteFocus(LiteFocusPlan(scope: .all)), layout)
            #expect(all.count == 2 * 2 * transformers * 2 * 2)
            #expect(official.count == 2 * 2 * min(3, transformers) * 2)
            #expect(all.allSatisfy { !$0.hasPrefix("mid_block") })
            #expect(official.allSatisfy { $0.contains("transformer_blocks.0") && all.contains($0) })
            #expect(!official.contains("down_blocks.1.attentions.3.transformer_blocks.0.attn1") || transformers != 4)
        }
    }

    /// What becomes of a self-attention over a grid of `height` x `width`.
    private func pattern(
        _ plan: LiteFocusPlan, height: Int = 5, width: Int = 4, grid: Int? = nil, prefix: Int = 0,
        site name: String? = nil,
        call index: Int = 0, step: Int? = nil, seed: UInt64 = 0
    ) throws -> AttentionPattern {
        let layout = twoLevels()
        let site = try #require(
            layout.site(named: name ?? "down_blocks.1.attentions.0.transformer_blocks.0.attn1"))
        let method = LiteFocus(plan)
        _ = try method.begin(
            SamplingContext(layouts: [layout], calls: .exactly(8), steps: 8, rows: 1, seed: seed))
        var numbers = Numbers(3)
        var call = try AttentionCall(
            site: site, qkv: numbers.tensor([1, height * width + prefix, 3 * 8]), heads: 2, gridHeight: height,
            gridWidth: grid ?? width, prefix: prefix)
        let run = Run(pool: nil, budget: nil)
        return try run.advance(Call(time: 0, index: index, count: 8, step: step ?? index)) {
            (_, run) throws(DiffError) in
            try method.attend(&call, run)
            return call.pattern
        }
    }

    private func groups(_ pattern: AttentionPattern) throws -> AttentionGroups {
        guard case .groups(let groups) = pattern else { throw DiffError(.internal, "not in groups: \(pattern)") }
        return groups
    }

    @Test func groupsAreTheFrequenciesOfTheMap() throws {
        for (height, width) in [(5, 4), (4, 5), (1, 7), (7, 2), (64, 8)] {
            let made = try groups(pattern(LiteFocusPlan(ratio: 0.3), height: height, width: width))
            #expect(made.count == width && made.seesOwnKeys && !made.countsOnce)
            let wanted = Int((Double(height * width) * 0.3).rounded(.towardZero))
            #expect(made.shared.count == wanted && Set(made.shared).count == wanted)
        }
        let same = try groups(pattern(LiteFocusPlan(crossFrequency: false)))
        #expect(same.shared.isEmpty && same.seesOwnKeys)
        let cross = try groups(pattern(LiteFocusPlan(sameFrequency: false, ratio: 0.5)))
        #expect(cross.shared.count == 10 && !cross.seesOwnKeys)
        #expect(try groups(pattern(LiteFocusPlan(deduplicates: true))).countsOnce)
        // Less than one token: the own ones alone.
        #expect(try groups(pattern(LiteFocusPlan(ratio: 0.04))).shared.isEmpty)
    }

    @Test func moreMayBeSeenInTheFirstSteps() throws {
        let plan = try LiteFocusPlan(ratio: 0.1, earlyRatio: 0.5, earlySteps: 0.5)
        let again = try Plan(plan.json, source: "plan").entries.first as? LiteFocusPlan
        #expect(again == plan)
        for step in 0..<8 {
            #expect(try groups(pattern(plan, call: step)).shared.count == (step < 4 ? 10 : 2))
        }
        let plain = try groups(pattern(LiteFocusPlan(ratio: 0.1, earlySteps: 0.5), call: 1))
        #expect(try plain == groups(pattern(LiteFocusPlan(ratio: 0.1), call: 1)))
    }

    /// A product in double precision whose fraction is cut off, as the published code has it: 28, not 29.
    @Test func theShareIsCutOffAsPublished() throws {
        #expect(try groups(pattern(LiteFocusPlan(ratio: 0.29), height: 25, width: 4)).shared.count == 28)
        #expect(try groups(pattern(LiteFocusPlan(ratio: 0.58), height: 25, width: 2)).shared.count == 28)
    }

    @Test func whatSeesAllStaysDense() throws {
        for plan in [
            try LiteFocusPlan(sameFrequency: false, ratio: 1), try LiteFocusPlan(ratio: 1, deduplicates: true),
        ] {
            guard case .dense = try pattern(plan) else {
                Issue.record("\(plan.json) changes who sees whom")
                continue
            }
        }
        for plan in [try LiteFocusPlan(crossFrequency: false), try LiteFocusPlan(deduplicates: true)] {
            guard case .dense = try pattern(plan, height: 9, width: 1) else {
                Issue.record("\(plan.json) changes a grid of one frequency")
                continue
            }
        }
    }

    /// A window needs no other way of seeing; one over all times sees all there is.
    @Test func aWindowComesBesidesOrAlone() throws {
        #expect(try groups(pattern(LiteFocusPlan(window: 2))).window == 2)
        #expect(try groups(pattern(LiteFocusPlan())).window == 0)
        let alone = try groups(pattern(LiteFocusPlan(sameFrequency: false, crossFrequency: false, window: 1)))
        #expect(alone.window == 1 && alone.shared.isEmpty && !alone.seesOwnKeys)
        #expect(try groups(pattern(LiteFocusPlan(sameFrequency: false, ratio: 0.01, window: 1))).shared.isEmpty)
        for plan in [
            try LiteFocusPlan(crossFrequency: false, window: 4), try LiteFocusPlan(deduplicates: true, window: .max),
            try LiteFocusPlan(sameFrequency: false, crossFrequency: false, window: 5),
        ] {
            guard case .dense = try pattern(plan) else {
                Issue.record("\(plan.json) changes who sees whom")
                continue
            }
        }
        // Random tokens count twice beside a window over all times.
        #expect(try groups(pattern(LiteFocusPlan(window: 4))).window == 4)
        #expect(try groups(pattern(LiteFocusPlan(sameFrequency: false, ratio: 1, window: 1))).shared.count == 20)
    }

    @Test func gridsThatAreNoneAreRefused() throws {
        for (plan, grid, prefix) in [
            (try LiteFocusPlan(), 0, 0), (try LiteFocusPlan(), 3, 0), (try LiteFocusPlan(), 4, 1),
            (try LiteFocusPlan(sameFrequency: false, ratio: 0.01), 4, 0),
        ] {
            #expect { try pattern(plan, grid: grid, prefix: prefix) } throws: {
                ($0 as? DiffError)?.code == .incompatible
            }
        }
    }

    @Test func setsAreKeptAsLongAsTheyAreSaidToBe() throws {
        let names = [0, 1].map { "down_blocks.1.attentions.\($0).transformer_blocks.0.attn1" }
        func drawn(_ keys: LiteFocusPlan.Keys, _ site: Int, _ call: Int, _ step: Int, _ seed: UInt64 = 0) throws
            -> [Int]
        {
            try groups(
                pattern(
                    LiteFocusPlan(ratio: 0.5, keys: keys), height: 10, site: names[site], call: call, step: step,
                    seed: seed)
            ).shared
        }
        for keys in LiteFocusPlan.Keys.allCases {
            let first = try drawn(keys, 0, 2, 1)
            #expect(try drawn(keys, 0, 2, 1) == first)
            #expect(try (drawn(keys, 1, 2, 1) == first) == (keys != .call))
            #expect(try (drawn(keys, 0, 3, 1) == first) == (keys != .call))
            #expect(try (drawn(keys, 0, 2, 2) == first) == (keys != .step))
            #expect(try drawn(keys, 0, 2, 1, 9) != first)
        }
    }

    /// Attention to a text, and one whose pattern is decided, are left alone.
    @Test func onlyDenseSelfAttentionIsTouched() throws {
        let method = LiteFocus(try LiteFocusPlan())
        let layout = twoLevels()
        _ = try method.begin(SamplingContext(layouts: [layout], calls: 1, rows: 1))
        let site = try #require(layout.site(named: "down_blocks.1.attentions.0.transformer_blocks.0.attn2"))
        var numbers = Numbers(3)
        let text = try AttentionRows(numbers.tensor([1, 3, 8]))
        var call = try AttentionCall(
            site: site, queries: numbers.tensor([1, 20, 8]), keys: text, values: text, heads: 2, gridHeight: 5,
            gridWidth: 4)
        try method.attend(&call, Run(pool: nil, budget: nil))
        guard case .dense = call.pattern else {
            Issue.record("attention to a text was changed")
            return
        }
    }
}
