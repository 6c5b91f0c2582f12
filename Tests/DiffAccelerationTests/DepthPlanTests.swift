import DiffAcceleration
import DiffCheckpoint
import DiffTensor
import Testing

@Suite struct DepthPlanTests {
    private func plan(_ text: String) throws -> Plan {
        try Plan(JSON(parsing: text, source: "plan"), source: "plan")
    }

    /// An encoder of two blocks and a decoder of three; with `skips` the first and last of five blocks of one list are joined, and so on.
    private func layout(skips: Bool = false) -> SiteLayout {
        var layout = SiteLayout(family: "test")
        if skips {
            let blocks = (0..<5).map { layout.add("blocks.\($0)", .block) }
            layout.pair(blocks[0], blocks[4])
            layout.pair(blocks[1], blocks[3])
            return layout
        }
        for index in 0..<2 { _ = layout.add("encoder.\(index)", .block, list: "encoder") }
        for index in 0..<3 { _ = layout.add("decoder.\(index)", .block, list: "decoder") }
        return layout
    }

    private func visited(_ plan: Plan, _ layout: SiteLayout) throws -> [[Int]] {
        let run = Run(pool: nil, budget: nil, stack: plan.makeStack())
        try run.begin(SamplingContext(layouts: [layout], calls: 1, rows: 1))
        return layout.lists.map { run.blocks($0) }
    }

    @Test func everyListIsPrunedByItsName() throws {
        let pruned = try plan(#"{"method": "depth", "keep": {"decoder": [0, 2]}}"#)
        try pruned.check([layout()])
        #expect(try visited(pruned, layout()) == [[0, 1], [0, 2]])
        #expect(try visited(Plan(), layout()) == [[0, 1], [0, 1, 2]])
        #expect(try plan(pruned.json.serialized()).entries.first as? DepthPlan == pruned.entries.first as? DepthPlan)
    }

    @Test(arguments: [
        (#"{"method": "depth", "keep": [0]}"#, "name one"),
        (#"{"method": "depth", "keep": {"middle": [0]}}"#, "it has encoder, decoder"),
        (#"{"method": "depth", "keep": {"encoder": [0, 2]}}"#, "2 blocks"),
    ])
    func listsThatTheModelDoesNotHaveAreRefused(_ text: String, _ part: String) throws {
        let pruned = try plan(text)
        #expect { try pruned.check([layout()]) } throws: {
            ($0 as? DiffError)?.code == .incompatible && ($0 as? DiffError)?.message.contains(part) == true
        }
    }

    @Test(arguments: [
        #"{"method": "depth", "keep": {}}"#, #"{"method": "depth", "keep": {"encoder": []}}"#,
        #"{"method": "depth", "keep": {"encoder": [1, 1]}}"#, #"{"method": "depth", "keep": {"encoder": 3}}"#,
        #"{"method": "depth", "keep": [2, 1]}"#, #"{"method": "depth"}"#,
    ])
    func badListsAreRefused(_ text: String) {
        #expect(throws: DiffError.self) { try plan(text) }
    }

    @Test func endsOfASkipConnectionStayTogether() throws {
        for keep in [[0, 4], [1, 2, 3], [2], [0, 1, 3, 4]] {
            try Plan([try DepthPlan(keep: keep)]).check([layout(skips: true)])
        }
        for keep in [[0], [4], [0, 1, 4], [2, 3]] {
            let pruned = Plan([try DepthPlan(keep: keep)])
            #expect { try pruned.check([layout(skips: true)]) } throws: {
                ($0 as? DiffError)?.message.contains("skip connection") == true
            }
        }
    }

    @Test func keepingAllIsTheBaseline() throws {
        let all = try DepthPruning(keep: [0, 1, 2, 3, 4])
        #expect(try all.begin(SamplingContext(layouts: [layout(skips: true)], calls: 1, rows: 1)).isEmpty)
    }
}
