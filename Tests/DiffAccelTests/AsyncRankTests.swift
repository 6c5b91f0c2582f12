import DiffAccel
import DiffTensor
import Synchronization
import TestSupport
import Testing

/// Networks in components on several ranks, and ranks that share the rows of calls: always the bits of one process.
@Suite struct AsyncRankTests {
    private let directory: ScratchDirectory
    private let subjects: [AsyncSubject]

    init() throws {
        directory = try ScratchDirectory()
        subjects = try AsyncSubject.all(directory)
    }

    private func asynchronous(
        _ components: Int, stride: Int = 1, warmUp: Int = 1, shift: Bool = false, _ variant: AsyncPlan.Variant = .paper,
        _ executor: AsyncPlan.Executor, wire: RankWire = .f32
    ) throws -> Plan {
        Plan([
            try AsyncPlan(
                components: components, stride: stride, warmUp: warmUp, timeShift: shift, variant: variant,
                split: .balanced, executor: executor, wire: wire)
        ])
    }

    /// The results of a run on as many ranks; nil where it failed.
    private func results(
        _ subject: AsyncSubject, _ plan: Plan, ranks: Int, _ errors: inout [DiffError?], delay: Double = 0,
        _ change: @Sendable (inout SampleRequest, Int) -> Void = { _, _ in }
    ) throws -> [SampleResult?] {
        let found = Mutex([SampleResult?](repeating: nil, count: ranks))
        errors = try LocalRanks(ranks, delay: delay).perform { (group) throws(DiffError) in
            var options = SessionOptions()
            (options.threads, options.ranks) = (1, group)
            var request = subject.request
            change(&request, group.rank)
            let result = try subject.model.session(plan, options).sample(request)
            found.withLock { $0[group.rank] = result }
        }
        return found.withLock { $0 }
    }

    @Test(arguments: [0, 2, 3]) func componentsOnRanksHaveTheBitsOfOneProcess(_ number: Int) throws {
        let subject = subjects[number]
        let settings: [(Int, Int, Bool, AsyncPlan.Variant)] = [
            (1, 1, false, .paper), (1, 3, true, .paper), (2, 1, false, .paper), (2, 2, true, .paper),
            (2, 1, false, .released), (2, 3, true, .released),
        ]
        for components in 2...3 {
            for (stride, warmUp, shift, variant) in settings {
                let note = Comment("\(subject.name), \(components), stride \(stride), \(warmUp), \(shift), \(variant)")
                func plan(_ executor: AsyncPlan.Executor) throws -> Plan {
                    try asynchronous(components, stride: stride, warmUp: warmUp, shift: shift, variant, executor)
                }
                let expected = try subject.run(plan(.sequential), threads: 1)
                var errors: [DiffError?] = []
                let found = try results(
                    subject, plan(.mpi), ranks: components + stride - 1, &errors, delay: 0.0005)
                #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
                for result in found {
                    #expect(sameBits(result?.state ?? [], expected.state), note)
                    #expect(result?.statistics.allocationsAfterFirstStep == 0, note)
                    // A rank computes its own component.
                    #expect((result?.statistics.flops ?? .infinity) < expected.statistics.flops, note)
                }
            }
        }
    }

    @Test(arguments: [0, 2, 3], [2, 3, 4]) func rowsOnRanksHaveTheBitsOfOneProcess(_ number: Int, _ ranks: Int) throws {
        let subject = subjects[number]
        let expected = try subject.run(Plan(), threads: 1)
        var errors: [DiffError?] = []
        let found = try results(subject, Plan(), ranks: ranks, &errors) { request, _ in
            request["guidance_execution"] = "ranks"
        }
        #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
        for result in found { #expect(sameBits(result?.state ?? [], expected.state)) }
        // Four rows.
        if ranks != 3 {
            let flops = found[0]?.statistics.flops ?? 0
            #expect(abs(flops * Double(ranks) / expected.statistics.flops - 1) < 0.02)
        }
    }

    @Test func groupsOfComponentsShareRows() throws {
        let subject = subjects[0]
        let expected = try subject.run(asynchronous(2, .paper, .sequential), threads: 1)
        var errors: [DiffError?] = []
        let found = try results(subject, asynchronous(2, .paper, .mpi), ranks: 4, &errors) { request, _ in
            request["guidance_execution"] = "ranks"
        }
        #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
        for result in found { #expect(sameBits(result?.state ?? [], expected.state)) }
    }

    @Test func methodsKeepTheirRows() throws {
        let subject = subjects[0]
        for plan in [Plan([LayerCachePlan(.alternate)]), Plan([try DeepCachePlan(interval: 3)])] {
            let expected = try subject.run(plan, threads: 1)
            var errors: [DiffError?] = []
            let found = try results(subject, plan, ranks: 2, &errors) { request, _ in
                request["guidance_execution"] = "ranks"
            }
            #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
            for result in found { #expect(sameBits(result?.state ?? [], expected.state)) }
        }
    }

    @Test func roundedMessagesAreNearlyTheSame() throws {
        let subject = subjects[0]
        let expected = try subject.run(asynchronous(2, .paper, .sequential), threads: 1)
        var errors: [DiffError?] = []
        let found = try results(subject, asynchronous(2, .paper, .mpi, wire: .bf16), ranks: 2, &errors)
        #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
        let state = try #require(found[0]).state
        let difference = zip(state, expected.state).map { abs($0 - $1) }.max() ?? 1
        #expect(difference > 0 && difference < 0.05 * (expected.state.map(abs).max() ?? 0), "\(difference)")
        #expect(found.allSatisfy { sameBits($0?.state ?? [], state) })
    }

    @Test func whatDiffersEndsTheRunOnAll() throws {
        var errors: [DiffError?] = []
        _ = try results(subjects[0], asynchronous(2, .paper, .mpi), ranks: 2, &errors) { request, rank in
            if rank == 1 { request["steps"] = 8 }
        }
        #expect(errors.allSatisfy { $0?.code == .incompatible && $0?.message.contains("rank 1") == true }, "\(errors)")
        _ = try results(subjects[0], asynchronous(2, .paper, .mpi), ranks: 2, &errors) { request, rank in
            if rank == 1 { request["steps"] = 0 }
        }
        #expect(errors.allSatisfy { $0 != nil }, "\(errors)")
        _ = try results(subjects[0], asynchronous(2, .paper, .mpi), ranks: 3, &errors)
        #expect(
            errors.allSatisfy { $0?.code == .unsupported && $0?.message.contains("3 were started") == true },
            "\(errors)")
        _ = try results(subjects[0], asynchronous(2, .paper, .mpi), ranks: 4, &errors)
        #expect(errors.allSatisfy { $0?.message.contains("guidance_execution") == true }, "\(errors)")
    }

    @Test func cancelOnOneRankEndsTheRunOnAll() throws {
        let (subject, plan) = (subjects[0], try asynchronous(2, .paper, .mpi))
        for canceller in 0..<2 {
            let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
                var options = SessionOptions()
                (options.threads, options.ranks) = (1, group)
                _ = try subject.model.session(plan, options).sample(subject.request) { event in
                    group.rank == canceller && event.stage == .denoise && event.step == 3 ? .cancel : .continue
                }
            }
            #expect(errors.allSatisfy { $0?.code == .cancelled }, "\(errors)")
        }
    }
}
