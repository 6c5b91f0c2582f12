import DiffTensor
import TestSupport
import Testing

/// A method that writes down when it is asked.
private final class Diary: Acceleration {
    let name: String
    let log: Log
    var wantsModules = true, wantsEvaluations = true, wantsBlocks = true, wantsAttention = true
    var reuses = false
    var drops: Int?
    private var kept: Slots?

    final class Log { var lines: [String] = [] }

    init(_ name: String, _ log: Log) { (self.name, self.log) = (name, log) }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        let sites = context.sites(.attention, .mlp)
        if wantsModules { hooks.modules = SiteSet(sites) }
        if wantsAttention { hooks.attention = SiteSet(sites) }
        (hooks.blocks, hooks.evaluations) = (wantsBlocks, wantsEvaluations)
        return hooks
    }
    func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan) {
        log.lines.append("\(name) blocks \(plan.indices)")
        if let drops { plan.indices.removeAll { $0 == drops } }
    }
    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        log.lines.append("\(name) in")
        if reuses, let kept { return kept }
        let output = try compute()
        kept = output
        log.lines.append("\(name) out")
        return output
    }
    func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError) { log.lines.append("\(name) attend") }
    func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
        log.lines.append("\(name) before")
        var call = call
        call.time += 1
        let output = try next(call, run)
        log.lines.append("\(name) after")
        return output
    }
    func release() { kept = nil }
    var bytesHeld: Int { kept?.first.byteCount ?? 0 }
}

private struct Network {
    var layout = SiteLayout(family: "test")
    let blocks: [Site]
    let mlps: [Site]

    init(_ depth: Int) {
        var (blocks, mlps): ([Site], [Site]) = ([], [])
        for index in 0..<depth {
            let block = layout.add("blocks.\(index)", .block)
            blocks.append(block)
            mlps.append(layout.add("blocks.\(index).mlp", .mlp, in: block))
        }
        (self.blocks, self.mlps) = (blocks, mlps)
    }

    func context(calls: Int = 1) -> SamplingContext { SamplingContext(layouts: [layout], calls: calls, rows: 1) }
}

@Suite struct LayoutTests {
    @Test func sitesAreNumberedNestedAndNamed() {
        let network = Network(70)
        let layout = network.layout
        #expect(layout.blockCount == 70 && layout.sites.count == 140)
        #expect(layout.site(named: "blocks.69.mlp") == network.mlps[69] && layout.site(named: "nothing") == nil)
        #expect(layout.info(network.mlps[69]).parent == network.blocks[69] && layout.info(network.mlps[69]).block == 69)
        #expect(layout.sites(.mlp) == network.mlps && layout.sites(.block, .mlp).count == 140)
    }

    @Test func aSetHoldsWhatWasPutIn() {
        let sites = Network(70).mlps
        var set = SiteSet([sites[0], sites[69]])
        #expect(set.contains(sites[0]) && set.contains(sites[69]) && !set.contains(sites[32]) && !set.isEmpty)
        set.formUnion(SiteSet([sites[32]]))
        #expect(set.contains(sites[32]) && set.contains(sites[69]))
        #expect(SiteSet().isEmpty && !SiteSet().contains(sites[69]))
        var small = SiteSet([sites[0]])
        small.formUnion(set)
        #expect(small.contains(sites[69]))
    }
}

@Suite struct SessionSiteTests {
    @Test func sitesOfTwoNetworksNeverCollide() throws {
        let (a, b) = (Network(3), Network(2))
        let context = SamplingContext(layouts: [a.layout, b.layout], calls: 1, rows: 1)
        let all = context.sites(of: 0, .block, .mlp) + context.sites(of: 1, .block, .mlp)
        #expect(Set(all).count == 10 && context.siteCount == 10)
        #expect(context.site(b.mlps[1], of: 1).number == 6 + b.mlps[1].number)
        let probe = SiteProbe()
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([probe]))
        try run.begin(context)
        let x = try Tensor([1, 2], Shape(1, 2))
        var call = Call(time: 0, index: 0, count: 1, step: 0)
        call.network = 1
        _ = try run.evaluate(call) { (_, run) throws(DiffError) in
            try run.at(b.mlps[0], x) { () throws(DiffError) in try run.add(x, x) }
        }
        #expect(probe.visited == [context.site(b.mlps[0], of: 1)])
        #expect(run.trace.outcome(context.site(b.mlps[0], of: 1), call: 0) == .computed)
        #expect(run.trace.outcome(a.mlps[0], call: 0) == .skipped)
    }

    @Test func blockListsHaveNamesAndPartners() {
        var layout = SiteLayout(family: "test")
        let outer = layout.add("encoder.0", .block, list: "encoder")
        let inner = layout.add("decoder.0", .block, list: "decoder")
        let mlp = layout.add("decoder.0.mlp", .mlp, in: inner)
        _ = layout.add("decoder.1", .block, list: "decoder")
        layout.pair(outer, inner)
        #expect(layout.lists.map(\.name) == ["encoder", "decoder"] && layout.lists.map(\.count) == [1, 2])
        #expect(layout.blockCount == 3 && layout.info(mlp).list == 1 && layout.info(mlp).block == 0)
        #expect(layout.info(outer).partner == inner && layout.info(inner).partner == outer)
    }

    @Test func modulesHaveSlots() throws {
        let network = Network(1)
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([SiteProbe()]))
        try run.begin(network.context())
        let (x, y) = (try Tensor([1, 2], Shape(1, 2)), try Tensor([3], Shape(1, 1)))
        let out = try run.at(network.mlps[0], Slots(x, [y])) { () throws(DiffError) in Slots(x, [y, x]) }
        #expect(out.count == 3 && out[0]?.array == [1, 2] && out[1]?.array == [3] && out[2]?.array == [1, 2])
        #expect(out[3] == nil && out[-1] == nil)
    }

    @Test func ofSeveralPassesInACallTheStrongestOutcomeCounts() throws {
        let network = Network(2)
        /// Evaluates twice; the second pass computes nothing.
        final class Twice: Acceleration {
            func begin(_ context: SamplingContext) -> HookSet {
                var hooks = HookSet()
                (hooks.evaluations, hooks.modules) = (true, SiteSet(context.sites(.mlp)))
                return hooks
            }
            func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
                var second = call
                second.pass = 1
                _ = try next(call, run)
                return try next(second, run)
            }
            func module(
                _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
            ) throws(DiffError) -> Slots { run.call.pass == 0 ? try compute() : inputs }
        }
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([Twice()]))
        try run.begin(network.context(calls: 2))
        let x = try Tensor([1, 2], Shape(1, 2))
        for index in 0..<2 {
            let site = network.mlps[index]
            _ = try run.evaluate(Call(time: 0, index: index, count: 2, step: index)) { (_, run) throws(DiffError) in
                try run.at(site, x) { () throws(DiffError) in try run.add(x, x) }
            }
        }
        #expect(run.trace.outcome(network.mlps[0], call: 0) == .computed)
        #expect(run.trace.outcome(network.mlps[1], call: 0) == .skipped)
        #expect(run.trace.outcome(network.mlps[1], call: 1) == .computed)
        let stateful = SamplingContext(
            layouts: [network.layout], calls: .exactly(1), steps: 1, rows: 1, isStateful: true)
        #expect { try run.begin(stateful) } throws: { ($0 as? DiffError)?.code == .incompatible }
    }
}

@Suite struct AccelerationStackTests {
    private let network = Network(3)

    private func visit(_ run: Run) throws -> Tensor {
        let x = try Tensor([1, 2], Shape(1, 2))
        return try run.evaluate(Call(time: 5, index: 0, count: 1, step: 0)) { (call, run) throws(DiffError) in
            var h = x
            for index in run.blocks(network.layout.lists[0]) {
                h = try run.at(network.mlps[index], h) { [h] () throws(DiffError) in try run.add(h, h) }
            }
            return try run.combine(1, h, 0, h)
        }
    }

    @Test func theFirstMethodIsOutermost() throws {
        let log = Diary.Log()
        let (a, b) = (Diary("a", log), Diary("b", log))
        a.drops = 0
        b.drops = 2
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([a, b]))
        try run.begin(network.context())
        #expect(try visit(run).array == [2, 4])
        #expect(
            log.lines == [
                "a before", "b before", "a blocks [0, 1, 2]", "b blocks [1, 2]", "a in", "b in", "b out", "a out",
                "b after", "a after",
            ])
        #expect(run.trace.outcome(network.mlps[0], call: 0) == .skipped)
        #expect(run.trace.outcome(network.mlps[1], call: 0) == .computed)
        #expect(run.call.time == 7)
    }

    @Test func attentionPassesThroughTheMethodsInOrder() throws {
        let log = Diary.Log()
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([Diary("a", log), Diary("b", log)]))
        try run.begin(network.context())
        var numbers = Numbers(1)
        let call = try AttentionCall(site: network.mlps[0], qkv: numbers.tensor([1, 4, 12]), heads: 2)
        _ = try run.attention(call)
        #expect(log.lines == ["a attend", "b attend"])
    }

    @Test func aMethodWithoutInterestIsNeverAsked() throws {
        let log = Diary.Log()
        let silent = Diary("silent", log)
        (silent.wantsModules, silent.wantsEvaluations, silent.wantsBlocks) = (false, false, false)
        silent.wantsAttention = false
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([silent]))
        try run.begin(network.context())
        let plain = Run(pool: nil, budget: nil)
        try plain.begin(network.context())
        #expect(try sameBits(visit(run).array, visit(plain).array))
        #expect(log.lines.isEmpty && run.bytesHeld == 0)
    }

    @Test func aModuleThatIsNotComputedCountsAsReused() throws {
        let log = Diary.Log()
        let keeper = Diary("keeper", log)
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([keeper]))
        try run.begin(network.context(calls: 2))
        let x = try Tensor([1, 2], Shape(1, 2))
        for index in 0..<2 {
            keeper.reuses = index == 1
            _ = try run.evaluate(Call(time: 0, index: index, count: 2, step: index)) { (_, run) throws(DiffError) in
                try run.at(network.mlps[1], x) { () throws(DiffError) in try run.add(x, x) }
            }
        }
        #expect(run.trace.outcome(network.mlps[1], call: 0) == .computed)
        #expect(run.trace.outcome(network.mlps[1], call: 1) == .reused)
        #expect(run.trace.outcome(network.mlps[1], call: 2) == .skipped)
        #expect(run.trace.flops == [2, 0] && run.bytesHeld == 8)
        run.end()
        #expect(run.bytesHeld == 0)
    }

    @Test func aStopRequestIsSeenBetweenModules() throws {
        let flag = CancelFlag()
        let run = Run(pool: nil, budget: nil, cancel: flag)
        try run.begin(network.context())
        flag.cancel()
        #expect { try visit(run) } throws: { ($0 as? DiffError)?.code == .cancelled }
    }

    @Test func aDryRunAsksTheSameMethods() throws {
        var logs: [[String]] = []
        for dry in [false, true] {
            let log = Diary.Log()
            let stack = AccelerationStack([Diary("a", log)])
            let run = dry ? Run(dryOn: 1, stack: stack) : Run(pool: nil, budget: nil, stack: stack)
            try run.begin(network.context())
            _ = try visit(run)
            logs.append(log.lines)
        }
        #expect(logs[0] == logs[1])
    }
}
