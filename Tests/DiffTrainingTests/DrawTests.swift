import DiffCheckpoint
import DiffTensor
import TestSupport
import Testing

@testable import DiffTraining

/// Which samples and numbers a step gets, and which steps a router is taught.
@Suite struct DrawTests {
    private func set(_ count: Int, flipped: Bool = false) throws -> (ScratchDirectory, LatentSet) {
        let directory = try ScratchDirectory()
        var values: [Float] = []
        for index in 0..<count { values += flipped ? [Float(index), -Float(index)] : [Float(index)] }
        let shape = flipped ? try Shape([count, 2, 1, 1, 1]) : try Shape([count, 1, 1, 1])
        try directory.write(["latents": Tensor(values, shape)], as: "x.safetensors")
        // Labels as NumPy writes them.
        var npy = Array("\u{93}NUMPY".unicodeScalars.map { UInt8($0.value) }) + [1, 0]
        let head = "{'descr': '|u1', 'fortran_order': False, 'shape': (\(count),), }\n"
        npy += [UInt8(head.utf8.count), 0] + Array(head.utf8) + (0..<count).map { UInt8($0 % 5) }
        let labels = try directory.file("y.npy")
        let file = try AtomicFile(path: labels)
        try npy.withUnsafeBytes { try file.write($0) }
        try file.commit()
        let states = try ArrayFile(path: "\(directory.path)/x.safetensors", tensor: "latents")
        return (directory, try LatentSet(states: states, labels: ArrayFile(path: labels, tensor: ""), classes: 5))
    }

    @Test(arguments: [(10, 3), (12, 4), (5, 5), (7, 1)])
    func anEpochShowsEverySampleOnceAtMost(count: Int, size: Int) throws {
        let (_, data) = try set(count)
        let source = try BatchSource(data, size: size, seed: 9, budget: nil)
        let batches = count / size
        for epoch in 0..<3 {
            let shown = (0..<batches).flatMap { source.indices(epoch * batches + $0) }
            #expect(Set(shown).count == shown.count && shown.allSatisfy { (0..<count).contains($0) })
        }
        let again = try BatchSource(data, size: size, seed: 9, budget: nil)
        #expect(
            again.indices(2 * batches) == source.indices(2 * batches), "order does not depend on what was asked before")
    }

    @Test func fewerSamplesThanABatchAreDrawn() throws {
        let (_, data) = try set(3)
        let source = try BatchSource(data, size: 8, seed: 1, budget: nil)
        #expect(source.indices(0).count == 8 && source.indices(0).allSatisfy { (0..<3).contains($0) })
        #expect(source.indices(0) != source.indices(1))
    }

    @Test func batchesHoldTheSamplesAndTheirLabels() throws {
        for flipped in [false, true] {
            let (_, data) = try set(20, flipped: flipped)
            let source = try BatchSource(data, size: 6, seed: 4, budget: nil)
            let run = Run(pool: nil, budget: nil)
            var signs: Set<Bool> = []
            for step in 0..<8 {
                let (x, labels) = try source.batch(step, run)
                for (row, index) in source.indices(step).enumerated() {
                    #expect(abs(x.array[row]) == Float(index) && labels[row] == index % 5)
                    if index > 0 { signs.insert(x.array[row] < 0) }
                }
            }
            #expect(signs == (flipped ? [true, false] : [false]), "both variants are drawn")
        }
    }

    @Test func drawsDependOnSeedAndStepOnly() {
        var (a, b) = (StepDraws(seed: 5, step: 70), StepDraws(seed: 5, step: 70))
        #expect(a.uniform(10) == b.uniform(10) && a.indices(10, below: 1000) == b.indices(10, below: 1000))
        var (c, d) = (StepDraws(seed: 5, step: 71), StepDraws(seed: 6, step: 70))
        let first = StepDraws(seed: 5, step: 70)
        var e = first
        let values = e.uniform(10)
        #expect(c.uniform(10) != values && d.uniform(10) != values)
        var dropping = StepDraws(seed: 1, step: 0)
        let labels = dropping.dropping(Array(repeating: 2, count: 4000), 0.1, null: 9)
        #expect((300...500).contains(labels.count { $0 == 9 }) && labels.allSatisfy { $0 == 2 || $0 == 9 })
        #expect(dropping.dropping([1, 2], 1, null: nil) == [1, 2])
    }

    @Test func groupsAreThoseOfInference() throws {
        for period in 2...5 {
            for steps in 2...13 where steps >= period {
                let groups = CachedGroup.singleCalls(steps: steps, period: period)
                let taught = groups.flatMap(\.cached)
                // Rows that inference reads are those that are taught, each after the full step before it.
                let expected = (0..<steps - 1).filter { $0 % period != period - 1 }
                #expect(Set(taught.map(\.row)) == Set(expected) && taught.count == expected.count)
                #expect(taught.allSatisfy { $0.call == steps - 1 - $0.row })
                for group in groups {
                    #expect(group.start == group.full)
                    #expect(group.cached.map(\.call) == (0..<group.cached.count).map { group.full + 1 + $0 })
                }
            }
        }
        #expect(
            CachedGroup.singleCalls(steps: 4, period: 2) == [
                CachedGroup(start: 0, full: 0, cached: [CachedCall(call: 1, row: 2)]),
                CachedGroup(start: 2, full: 2, cached: [CachedCall(call: 3, row: 0)]),
            ])
    }

    @Test func aSolverOfTwoCallsIsCachedAtTheNextStepsFirst() throws {
        #expect(
            CachedGroup.pairedCalls(steps: 3) == [
                CachedGroup(start: 0, full: 1, cached: [CachedCall(call: 2, row: 1)]),
                CachedGroup(start: 2, full: 3, cached: [CachedCall(call: 4, row: 2)]),
            ])
        // An odd number of evaluations is rounded down; there are rows for all of them.
        let process = try RouterProcess.singlestep(.stableDiffusion, evaluations: 7)
        #expect(process.rows == 7 && process.timesteps.count == 6 && process.groups.count == 2)
        // Half to even of the time in float32: 500.5 is 501.
        #expect(try RouterProcess.singlestep(.stableDiffusion, evaluations: 4).trainingTimesteps[2] == 501)
        for (evaluations, period) in [(2, 2), (8, 3)] {
            do {
                _ = try RouterProcess.singlestep(.stableDiffusion, evaluations: evaluations, period: period)
                Issue.record("\(evaluations) evaluations, a period of \(period)")
            } catch { #expect(error.code == .invalidArgument) }
        }
    }

    @Test func schedulesReachTheirEnds() {
        #expect(
            Schedule.linear(4, 0.1).value(0, of: 10) == 4 && abs(Schedule.linear(4, 0.1).value(9, of: 10) - 0.1) < 1e-12
        )
        #expect(Schedule.cosine(2, 1).value(0, of: 8) == 2 && Schedule.cosine(2, 1).value(4, of: 8) == 1.5)
        #expect(Schedule.linear(3, 1).value(0, of: 1) == 3 && Schedule.constant(7).value(5, of: 6) == 7)
    }
}
