import DiffTensor
import Synchronization
import TestSupport
import Testing

@testable import DiffSampling

/// Which network calls guidance makes, on a network of one site that tells what it was asked.
@Suite struct GuidedCallTests {
    private struct Asked: Equatable, Sendable {
        let rows: GuidanceRows, index: Int, lane: Int, count: Int
    }

    private final class Network: Sendable {
        let layout: SiteLayout
        let site: Site
        let asked = Mutex([Asked]())

        init() {
            var layout = SiteLayout(family: "test")
            site = layout.add("blocks.0.mlp", .mlp)
            self.layout = layout
        }

        /// Rows differ by what they are about; a row's result depends on the row alone.
        func callAsFunction(
            _ x: Tensor, _ rows: GuidanceRows, _ call: Call, _ run: Run
        ) throws(DiffError) -> Tensor {
            asked.withLock { $0.append(Asked(rows: rows, index: call.index, lane: call.lane, count: x.shape[0])) }
            let n = rows == .both ? x.shape[0] / 2 : x.shape[0]
            let weights = rows.labels(Array(repeating: 1, count: n), null: 0).flatMap { label in
                Array(repeating: Float(label) * 0.3 + call.time * 1e-4, count: x.shape.count / max(1, x.shape[0]))
            }
            return try run.at(site, x) { () throws(DiffError) in
                try run.combine(0.9, x, 1, run.tensor(weights, x.shape))
            }
        }
    }

    /// Looks on at the network's site.
    private final class Watcher: Acceleration {
        let separates: Bool
        init(separates: Bool) { self.separates = separates }
        func begin(_ context: SamplingContext) -> HookSet {
            var hooks = HookSet()
            hooks.modules = SiteSet(context.sites(.mlp))
            hooks.separatesLanes = separates
            return hooks
        }
    }

    private let shape: Shape
    private let schedule: DiffusionSchedule

    init() throws {
        shape = try Shape(2, 3, 4, 4)
        schedule = try DiffusionSchedule(.dit, .even([5]))
    }

    private func sample(
        _ guidance: Guidance?, threads: Int = 1, _ methods: [any Acceleration] = [],
        network: Network = Network(), sampler: (any Sampler)? = nil
    ) throws -> (state: [Float], run: Run, asked: [Asked], site: Site) {
        let sampler = try sampler ?? DDIMSampler(schedule, eta: 1)
        let run = Run(
            pool: try WorkerPool(threads: threads), budget: nil, stack: AccelerationStack(methods))
        try run.begin(
            SamplingContext(
                layouts: [network.layout], calls: sampler.calls, steps: sampler.steps,
                rows: guidance?.rows(2) ?? 2, lanes: guidance?.lanes ?? 1, guidance: guidance?.context ?? .none))
        let state = try sampler.sample(
            shape, noise: NoiseSource(seed: 4), guidance: guidance, run, observe: { (_) throws(DiffError) in }
        ) { (x, rows, call, run) throws(DiffError) in try network(x, rows, call, run) }
        return (state.array, run, network.asked.withLock { $0 }, network.site)
    }

    /// What stood in the hook before guidance was a value: doubling, the network, u + s (c - u) in the first channels.
    @Test func theBitsAreThoseOfGuidanceInsideTheCall() throws {
        let sampler = try DDIMSampler(schedule, eta: 1)
        let network = Network()
        let run = Run(pool: nil, budget: nil)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 5, rows: 4))
        let old = try sampler.sample(
            shape, noise: NoiseSource(seed: 4), networkBatch: 4, run, observe: { (_) throws(DiffError) in }
        ) { (x, call, run) throws(DiffError) in
            let out = try network(run.doubled(x), .both, call, run)
            let (c, u) = (try out.rows(0, 2), try out.rows(2, 2))
            return try run.guided(c, u, scales: [4, 4, nil])
        }
        for execution in Guidance.Execution.allCases {
            for threads in 1...5 {
                let guidance = try Guidance(scale: 4, channels: .leading(2), execution: execution)
                let new = try sample(guidance, threads: threads)
                #expect(sameBits(new.state, old.array), "\(execution), \(threads) threads")
            }
        }
    }

    @Test func lanesHaveCallsOfTheirOwnAndOneEntryInTheTrace() throws {
        let both = try sample(Guidance(scale: 4))
        #expect(both.asked == (0..<5).map { Asked(rows: .both, index: $0, lane: 0, count: 4) })
        for execution in [Guidance.Execution.lanes, .split] {
            let found = try sample(Guidance(scale: 4, execution: execution), threads: 2)
            let expected = (0..<5).flatMap {
                [
                    Asked(rows: .conditional, index: $0, lane: 0, count: 2),
                    Asked(rows: .unconditional, index: $0, lane: 1, count: 2),
                ]
            }
            #expect(found.asked.count == 10 && expected.allSatisfy(found.asked.contains))
            #expect(found.run.trace.calls == 5 && found.run.trace.flops == both.run.trace.flops)
            for call in 0..<5 {
                #expect(found.run.trace.outcome(found.site, call: call) == .computed)
            }
        }
    }

    @Test func outsideTheIntervalOnlyConditionalRowsAreEvaluated() throws {
        let interval = try GuidanceInterval(from: 0.2, to: 0.6)
        var states: [[Float]] = []
        for execution in Guidance.Execution.allCases {
            let guidance = try Guidance(scale: 4, interval: interval, execution: execution)
            let found = try sample(guidance, threads: 2)
            let lonely = found.asked.filter { $0.rows == .conditional && $0.count == 2 }.map(\.index)
            #expect(Set(lonely).isSuperset(of: [0, 3, 4]))
            #expect(Set(found.asked.filter { $0.rows != .conditional }.map(\.index)) == [1, 2])
            // What a method may keep of unconditional rows stays as old as the rest.
            let kept = try sample(guidance, threads: 2, [Watcher(separates: true)])
            #expect(Set(kept.asked.filter { $0.rows != .conditional }.map(\.index)) == Set(0..<5))
            states += [found.state, kept.state]
        }
        for state in states { #expect(sameBits(state, states[0])) }
        let never = try Guidance(scale: 4, interval: GuidanceInterval(from: 0.4, to: 0.4))
        #expect(try sample(never).asked.allSatisfy { $0.rows == .conditional })
    }

    @Test func methodsThatDoNotSeparateLanesAreRefused() throws {
        let one = Watcher(separates: false)
        _ = try sample(Guidance(scale: 4), [one])
        for execution in [Guidance.Execution.lanes, .split] {
            let guidance = try Guidance(scale: 4, execution: execution)
            #expect { try sample(guidance, [one]) } throws: {
                ($0 as? DiffError)?.code == .incompatible
                    && ($0 as? DiffError)?.message.contains("guidance_execution") == true
            }
            _ = try sample(guidance, [Watcher(separates: true)])
        }
    }

    /// Both halves of the state take part in the error that decides on the steps.
    @Test func adaptiveSolversCarryBothHalvesInEveryExecution() throws {
        let sampler = try AdaptiveODESampler()
        let batched = try sample(Guidance(scale: 4, channels: .leading(2)), sampler: sampler)
        for execution in [Guidance.Execution.lanes, .split] {
            let found = try sample(
                Guidance(scale: 4, channels: .leading(2), execution: execution), threads: 3, sampler: sampler)
            #expect(sameBits(found.state, batched.state) && found.asked.count == 2 * batched.asked.count)
        }
        let interval = try Guidance(scale: 4, interval: GuidanceInterval(from: 0, to: 0.5))
        let ramp = try Guidance(scale: 4, ramp: .steps)
        for guidance in [interval, ramp] {
            #expect { try sample(guidance, sampler: sampler) } throws: {
                ($0 as? DiffError)?.code == .unsupported
                    && ($0 as? DiffError)?.message.contains("guidance_interval") == true
            }
        }
    }

    @Test func aFailureInOneLaneIsTheRunsAndAStopReachesBoth() throws {
        let sampler = try DDIMSampler(schedule, eta: 0)
        for execution in Guidance.Execution.allCases {
            let guidance = try Guidance(scale: 4, execution: execution)
            for stops in [false, true] {
                let (network, flag) = (Network(), CancelFlag())
                let run = Run(pool: try WorkerPool(threads: 2), budget: nil, cancel: flag)
                try run.begin(SamplingContext(layouts: [network.layout], calls: 5, rows: 4))
                let error = #expect(throws: DiffError.self) {
                    try sampler.sample(
                        shape, noise: NoiseSource(seed: 4), guidance: guidance, run,
                        observe: { (_) throws(DiffError) in }
                    ) { (x, rows, call, run) throws(DiffError) in
                        if call.index == 2, rows != .conditional {
                            guard stops else { throw DiffError(.notFinite, "the unconditional rows") }
                            flag.cancel()
                        }
                        return try network(x, rows, call, run)
                    }
                }
                #expect(error?.code == (stops ? .cancelled : .notFinite), "\(execution)")
            }
        }
    }
}
