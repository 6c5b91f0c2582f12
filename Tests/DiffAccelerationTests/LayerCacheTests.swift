import DiffAcceleration
import DiffTensor
import Synchronization
import TestSupport
import Testing

@Suite struct LayerCacheTests {
    /// A network of `depth` blocks whose modules give a tensor that tells the call in which it was computed.
    private struct Network {
        var layout = SiteLayout(family: "test")
        var sites: [Site] = []

        init(_ depth: Int) {
            for index in 0..<depth {
                let block = layout.add("blocks.\(index)", .block)
                sites.append(layout.add("blocks.\(index).attn", .attention, in: block))
                sites.append(layout.add("blocks.\(index).mlp", .mlp, in: block))
            }
        }

        /// For each call the call in which each site's output was computed.
        func origins(_ policy: CachePolicy, calls: Int, dry: Bool = false) throws -> (table: [[Int]], held: [Int]) {
            let stack = AccelerationStack([LayerCache(policy)])
            let run = dry ? Run(dryOn: 1, stack: stack) : Run(pool: nil, budget: nil, stack: stack)
            try run.begin(SamplingContext(layouts: [layout], calls: calls, rows: 1))
            let x = try run.filled(8, with: 0)
            var (table, held): ([[Int]], [Int]) = ([], [])
            for index in 0..<calls {
                let row = Mutex([Int]())
                _ = try run.evaluate(Call(time: 0, index: index, count: calls, step: index)) {
                    (_, run) throws(DiffError) in
                    for site in sites {
                        let out = try run.at(site, x) { () throws(DiffError) in try run.filled(8, with: Float(index)) }
                        let origin = run.trace.outcome(site, call: index) == .reused ? -1 : index
                        row.withLock { $0.append(dry ? origin : Int(out.array[0])) }
                    }
                    return x
                }
                table.append(row.withLock { $0 })
                held.append(run.bytesHeld)
            }
            run.end()
            #expect(run.bytesHeld == 0)
            return (table, held)
        }
    }

    @Test func reusedOutputsAreThoseOfTheLastStepThatComputedThem() throws {
        let network = Network(2)
        #expect(
            try network.origins(.alternate, calls: 4).table == [
                [0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2], [2, 2, 2, 2],
            ])
        #expect(try network.origins(.alternate, calls: 5).table.map { $0[0] } == [0, 1, 1, 3, 3])
        #expect(try network.origins(.interval(every: 3), calls: 7).table.map { $0[2] } == [0, 0, 0, 3, 3, 3, 6])
        let mixed = try Router(
            logits: [[5, -5, -5, 5], [0, 0, 0, 0], [-5, -5, 5, 5], [0, 0, 0, 0]], threshold: 0.5)
        #expect(
            try network.origins(.learned(mixed), calls: 4).table == [
                [0, 0, 0, 0], [0, 0, 1, 1], [2, 2, 2, 2], [3, 2, 2, 3],
            ])
    }

    @Test func onlyWhatWillBeReusedIsHeld() throws {
        let network = Network(2)
        // Blocks of a workspace are at least 4096 bytes.
        let mixed = try Router(logits: [[5, -5, 5, 5], [0, 0, 0, 0], [5, -5, -5, 5], [0, 0, 0, 0]], threshold: 0.5)
        #expect(try network.origins(.learned(mixed), calls: 4).held == [2, 2, 2, 2].map { $0 * 4096 })
        #expect(try network.origins(.alternate, calls: 2).held == [4, 4].map { $0 * 4096 })
        #expect(try network.origins(.none, calls: 3).held == [0, 0, 0])
    }

    @Test func aDryRunDecidesTheSame() throws {
        let network = Network(2)
        let live = try network.origins(.interval(every: 3), calls: 7)
        let dry = try network.origins(.interval(every: 3), calls: 7, dry: true)
        #expect(
            dry.table.enumerated().map { call, row in row.map { $0 == call } }
                == live.table.enumerated().map { call, row in row.map { $0 == call } })
        #expect(dry.held == live.held)
    }

    @Test func aPlanThatReusesNothingAsksNothing() throws {
        let layout = Network(2).layout
        let context = SamplingContext(layouts: [layout], calls: 4, rows: 1)
        let everything = try Router(logits: Array(repeating: [5, 5, 5, 5], count: 4), threshold: 0.5)
        for policy in [CachePolicy.none, .interval(every: 1), .random(ratio: 0, seed: 1), .learned(everything)] {
            #expect(try LayerCache(policy).begin(context).isEmpty, "\(policy)")
        }
        #expect(try !LayerCache(.alternate).begin(context).isEmpty)
        let one = SamplingContext(layouts: [layout], calls: 1, rows: 1)
        #expect(try LayerCache(.alternate).begin(one).isEmpty)
    }

    @Test func onlySitesThatAreSometimesReusedAreAsked() throws {
        let network = Network(2)
        let logits: [[Float]] = [[5, -5, 5, 5], [0, 0, 0, 0]]
        let hooks = try LayerCache(.learned(Router(logits: logits, threshold: 0.5))).begin(
            SamplingContext(layouts: [network.layout], calls: 2, rows: 1))
        #expect(hooks.modules == SiteSet([network.sites[1]]) && !hooks.blocks && !hooks.evaluations)
    }

    /// Rules then count calls, where their number is known; a router has rows for steps.
    @Test func samplersWhoseStepsDifferInCallsAreRefusedByRouters() throws {
        let layout = Network(1).layout
        let router = try Router(logits: Array(repeating: [-5, -5], count: 4), threshold: 0.5)
        func context(_ calls: CallCount) -> SamplingContext {
            SamplingContext(layouts: [layout], calls: calls, steps: 4, rows: 1)
        }
        #expect(try !LayerCache(.alternate).begin(context(.exactly(7))).isEmpty)
        for (policy, calls) in [(CachePolicy.learned(router), CallCount.exactly(7)), (.alternate, .atMost(8))] {
            #expect { try LayerCache(policy).begin(context(calls)) } throws: {
                ($0 as? DiffError)?.code == .unsupported
            }
        }
    }

    @Test func ofTwoCallsAStepTheFirstMayReuseWhatTheSecondGave() throws {
        let alternate = try CachePolicy.alternate.computes(steps: 4, stages: 2, sublayers: 2)
        #expect(alternate.map { $0[0] } == [true, true, false, true, false, true, false, true])
        // Rows count from the noisy end; the first has no effect, and one more evaluation than two a step is rounded down.
        let logits: [[Float]] = [[-9, -9], [9, -9], [-9, 9], [-9, -9], [-9, -9], [-9, -9], [-9, -9]]
        let learned = try CachePolicy.learned(Router(logits: logits, threshold: 0.5)).computes(
            steps: 3, stages: 2, sublayers: 2)
        let full = [true, true]
        #expect(learned == [full, full, [true, false], full, [false, true], full])
        #expect(throws: DiffError.self) {
            try CachePolicy.learned(Router(logits: logits, threshold: 0.5)).computes(steps: 4, stages: 2, sublayers: 2)
        }
        #expect(throws: DiffError.self) {
            try CachePolicy.learned(Router(logits: logits, threshold: 0.5, period: 3)).computes(
                steps: 3, stages: 2, sublayers: 2)
        }
    }

    @Test func aSecondRunStartsFresh() throws {
        let network = Network(1)
        let cache = LayerCache(.alternate)
        let context = SamplingContext(layouts: [network.layout], calls: 2, rows: 1)
        for _ in 0..<2 {
            _ = try cache.begin(context)
            #expect(cache.bytesHeld == 0)
            let run = Run(pool: nil, budget: nil)
            try run.begin(context)
            _ = try cache.module(network.sites[0], Slots(run.filled(4, with: 0)), run) { () throws(DiffError) in
                Slots(try run.filled(4, with: 1))
            }
            #expect(cache.bytesHeld > 0)
        }
        cache.release()
        #expect(cache.bytesHeld == 0)
    }
}
