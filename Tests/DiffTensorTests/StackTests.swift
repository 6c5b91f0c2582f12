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
    private var kept: Tensor?

    final class Log { var lines: [String] = [] }

    init(_ name: String, _ log: Log) { (self.name, self.log) = (name, log) }

    func begin(_ opening: Opening) -> Interest {
        var interest = Interest()
        let sites = opening.layouts[0].sites(.attention, .mlp)
        if wantsModules { interest.modules = SiteSet(sites) }
        if wantsAttention { interest.attention = SiteSet(sites) }
        (interest.blocks, interest.evaluations) = (wantsBlocks, wantsEvaluations)
        return interest
    }
    func blocks(_ call: Call, _ plan: inout BlockPlan) {
        log.lines.append("\(name) blocks \(plan.indices)")
        if let drops { plan.indices.removeAll { $0 == drops } }
    }
    func module(_ site: Site, _ input: Tensor, _ run: Run, _ compute: Compute) throws(DiffError) -> Tensor {
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
    var bytesHeld: Int { kept?.byteCount ?? 0 }
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

    func opening(calls: Int = 1) -> Opening { Opening(layouts: [layout], calls: calls, steps: calls, rows: 1) }
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

@Suite struct AccelerationStackTests {
    private let network = Network(3)

    private func visit(_ run: Run) throws -> Tensor {
        let x = try Tensor([1, 2], Shape(1, 2))
        return try run.evaluate(Call(time: 5, index: 0, count: 1, step: 0)) { (call, run) throws(DiffError) in
            var h = x
            for index in run.blocks(of: network.layout) {
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
        try run.begin(network.opening())
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
        try run.begin(network.opening())
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
        try run.begin(network.opening())
        let plain = Run(pool: nil, budget: nil)
        try plain.begin(network.opening())
        #expect(try sameBits(visit(run).array, visit(plain).array))
        #expect(log.lines.isEmpty && run.bytesHeld == 0)
    }

    @Test func aModuleThatIsNotComputedCountsAsReused() throws {
        let log = Diary.Log()
        let keeper = Diary("keeper", log)
        let run = Run(pool: nil, budget: nil, stack: AccelerationStack([keeper]))
        try run.begin(network.opening(calls: 2))
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
        try run.begin(network.opening())
        flag.cancel()
        #expect { try visit(run) } throws: { ($0 as? DiffError)?.code == .cancelled }
    }

    @Test func aDryRunAsksTheSameMethods() throws {
        var logs: [[String]] = []
        for dry in [false, true] {
            let log = Diary.Log()
            let stack = AccelerationStack([Diary("a", log)])
            let run = dry ? Run(dryOn: 1, stack: stack) : Run(pool: nil, budget: nil, stack: stack)
            try run.begin(network.opening())
            _ = try visit(run)
            logs.append(log.lines)
        }
        #expect(logs[0] == logs[1])
    }
}
