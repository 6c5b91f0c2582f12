import DiffTensor
import Synchronization
import TestSupport
import Testing

/// A network of a few sites, evaluated on forks.
private struct Network: Sendable {
    let layout: SiteLayout
    let sites: [Site]

    init() {
        var layout = SiteLayout(family: "test")
        sites = (0..<4).map { layout.add("blocks.0.\($0)", .mlp) }
        self.layout = layout
    }

    var context: SamplingContext { SamplingContext(layouts: [layout], calls: 1, rows: 1) }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        var h = x
        for site in sites { h = try run.at(site, h) { [h] () throws(DiffError) in try run.combine(0.5, h, 0.25, x) } }
        return h
    }
}

@Suite struct ForkTests {
    private let network = Network()

    private func run(_ threads: Int, limit: Int = 0) throws -> Run {
        let run = Run(pool: try WorkerPool(threads: threads), budget: try MemoryBudget(limit: limit))
        try run.begin(network.context)
        return run
    }

    /// What `count` forks give for inputs of their own.
    private func results(_ run: Run, _ count: Int) throws -> [[Float]] {
        let forks = try run.fork(count)
        let network = network
        let outputs = Mutex([Int: [Float]]())
        try forks.perform { (index, fork) throws(DiffError) in
            let x = try fork.filled(70_000, with: Float(index) + 0.3)
            let out = try network(x, fork)
            outputs.withLock { $0[index] = out.array }
        }
        return outputs.withLock { found in (0..<count).map { found[$0] ?? [] } }
    }

    @Test func forksGiveTheBitsOfOneRunOnAnyNumberOfThreads() throws {
        let alone = try run(1)
        let expected = try (0..<3).map { index in
            try network(alone.filled(70_000, with: Float(index) + 0.3), alone).array
        }
        for threads in 1...5 {
            for (index, found) in try results(run(threads), 3).enumerated() {
                #expect(sameBits(found, expected[index]), "\(threads) threads, fork \(index)")
            }
        }
    }

    @Test func whatForksDidStandsInTheTraceOfTheRun() throws {
        let run = try run(2)
        _ = try results(run, 2)
        for site in network.sites { #expect(run.trace.outcome(site, call: 0) == .computed) }
        #expect(run.trace.flops[0] == 2 * 4 * 3 * 70_000)
    }

    @Test func oneFailureStopsAllAndIsTheOneReported() throws {
        let run = try run(3)
        let forks = try run.fork(3)
        let network = network
        let error = #expect(throws: DiffError.self) {
            try forks.perform { (index, fork) throws(DiffError) in
                if index == 2 { throw DiffError(.notFinite, "fork 2") }
                // Until the failure is seen.
                let x = try fork.filled(64, with: 1)
                while true { _ = try network(x, fork) }
            }
        }
        #expect(error?.code == .notFinite)
        // The forks can be used again.
        try forks.perform { (_, fork) throws(DiffError) in _ = try network(fork.filled(64, with: 1), fork) }
    }

    @Test func aStopOfTheRunStopsItsForks() throws {
        let flag = CancelFlag()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, cancel: flag)
        try run.begin(network.context)
        let network = network
        let error = #expect(throws: DiffError.self) {
            try run.fork(2).perform { (index, fork) throws(DiffError) in
                let x = try fork.filled(64, with: 1)
                if index == 1 { flag.cancel() }
                while true { _ = try network(x, fork) }
            }
        }
        #expect(error?.code == .cancelled)
    }

    @Test func memoryOfForksIsChargedToTheSameBudget() throws {
        let run = try run(2, limit: 400_000)
        let error = #expect(throws: DiffError.self) { _ = try results(run, 2) }
        #expect(error?.code == .overBudget)
    }

    @Test func aDryRunForeseesTheMemoryOfForks() throws {
        let dry = Run(dryOn: 2)
        try dry.begin(network.context)
        _ = try results(dry, 2)
        let real = try run(2)
        try real.workspace.reserve(dry.workspace)
        let before = real.workspace.allocations
        _ = try results(real, 2)
        #expect(real.workspace.allocations == before && real.workspace.peakBytes == dry.workspace.peakBytes)
    }
}
