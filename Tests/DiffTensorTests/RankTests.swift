import DiffTensor
import Synchronization
import TestSupport
import Testing

/// What ranks do together, over messages in memory.
@Suite struct RankTests {
    private static func numbers(_ rank: Int, _ count: Int) throws(DiffError) -> Tensor {
        try Tensor((0..<count).map { Float(rank * 1000 + $0) }, Shape(count))
    }

    private static func room(_ count: Int) throws(DiffError) -> Tensor {
        try Tensor(Array(repeating: -1, count: count), Shape(count))
    }

    private static func plainRun() -> Run { Run(pool: nil, budget: nil) }

    /// A ring: every rank sends to the next one, receives from the one before.
    @Sendable private static func ring(_ run: RankRun, _ size: Int, _ tag: Int) throws(DiffError) {
        let local = plainRun()
        let (next, previous) = ((run.rank + 1) % run.count, (run.rank + run.count - 1) % run.count)
        let into = try room(size)
        let incoming = try run.receive(into: into, from: previous, tag: tag, local)
        let outgoing = try run.send(numbers(run.rank, size), to: next, tag: tag, local)
        try run.wait([incoming, outgoing])
        guard into.array == (try numbers(previous, size).array) else {
            throw DiffError(.internal, "other numbers came")
        }
    }

    @Test(arguments: [2, 3, 4]) func tensorsTravelInARing(_ count: Int) throws {
        // Pieces of 4,000 bytes, so that larger tensors are cut.
        let ranks = LocalRanks(count, delay: 0.002, messageLimit: 4000)
        let errors = try ranks.perform { (group) throws(DiffError) in
            for _ in 0..<2 {
                let run = try group.begin(RankRunOptions())
                for (tag, size) in [0, 1, 250, 1000, 1001, 9000].enumerated() { try Self.ring(run, size, tag) }
                try run.end()
            }
        }
        #expect(errors == Array(repeating: nil, count: count))
        #expect(ranks.unreceived == 0)
    }

    @Test func messagesOfOneTagStayInOrder() throws {
        let errors = try LocalRanks(2, delay: 0.001).perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions())
            let local = Self.plainRun()
            if group.rank == 0 {
                for value in 0..<20 { _ = try run.send(Self.numbers(value, 500), to: 1, tag: 7, local) }
            } else {
                for value in 0..<20 {
                    let into = try Self.room(500)
                    try run.wait(run.receive(into: into, from: 0, tag: 7, local))
                    guard into.array == (try Self.numbers(value, 500).array) else {
                        throw DiffError(.internal, "message \(value)")
                    }
                }
            }
            try run.end()
        }
        #expect(errors == [nil, nil])
    }

    @Test func everyRankGetsWhatOneBroadcasts() throws {
        let errors = try LocalRanks(4).perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions(wire: .bf16))
            for root in 0..<4 {
                let x = group.rank == root ? try Self.numbers(root, 777) : try Self.room(777)
                try run.broadcast(x, from: root, Self.plainRun())
                // Exact, whatever the wire.
                guard x.array == (try Self.numbers(root, 777).array) else { throw DiffError(.internal, "rank \(root)") }
            }
            let all = try run.share([UInt8(group.rank)])
            guard all == [[0], [1], [2], [3]] else { throw DiffError(.internal, "shared \(all)") }
            try run.end()
        }
        #expect(errors == [nil, nil, nil, nil])
    }

    @Test func bfloat16TravelsRounded() throws {
        let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions(wire: .bf16))
            let local = Self.plainRun()
            if group.rank == 0 {
                _ = try run.send(Tensor([1, 1.00390625, 3.14159, -1e30], Shape(4)), to: 1, tag: 0, local)
            } else {
                let into = try Self.room(4)
                try run.wait(run.receive(into: into, from: 0, tag: 0, local))
                guard into.array == [1, 1, 3.140625, -1.578125 * 0x1p99] else {
                    throw DiffError(.internal, "\(into.array)")
                }
            }
            try run.end()
        }
        #expect(errors == [nil, nil])
    }

    @Test func aFailureEndsTheRunOnAllAndTheNextOneWorks() throws {
        let ranks = LocalRanks(3)
        let seen = Mutex([DiffError?](repeating: nil, count: 3))
        let errors = try ranks.perform { (group) throws(DiffError) in
            do throws(DiffError) {
                // Rank 1 may have failed before another one has begun.
                let run = try group.begin(RankRunOptions())
                do throws(DiffError) {
                    let local = Self.plainRun()
                    // Nobody receives what was sent; ranks 0 and 2 wait for what nobody sends.
                    _ = try run.send(Self.numbers(1, 5000), to: (group.rank + 1) % 3, tag: 1, local)
                    if group.rank == 1 { throw DiffError(.notFinite, "the state is not finite") }
                    try run.wait(run.receive(into: Self.room(10), from: 1, tag: 9, local))
                    try run.end()
                } catch {
                    throw run.failed(error)
                }
            } catch {
                seen.withLock { $0[group.rank] = error }
            }
            let second = try group.begin(RankRunOptions())
            try Self.ring(second, 3000, 1)
            try second.end()
        }
        #expect(errors == [nil, nil, nil])
        let texts = seen.withLock { $0 }
        let told = DiffError(.notFinite, "rank 1 (host local, process 101) failed: the state is not finite")
        #expect(texts == [told, DiffError(.notFinite, "the state is not finite"), told])
        #expect(ranks.unreceived == 0)
    }

    @Test func aStopOnOneRankStopsAll() throws {
        let flag = CancelFlag()
        let errors = try LocalRanks(3).perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions(cancel: group.rank == 2 ? flag : CancelFlag()))
            do throws(DiffError) {
                if group.rank == 0 { flag.cancel() }
                try run.wait(
                    run.receive(into: Self.room(10), from: (group.rank + 1) % 3, tag: 9, Self.plainRun()))
            } catch {
                throw run.failed(error)
            }
        }
        #expect(errors.map { $0?.code } == [.cancelled, .cancelled, .cancelled])
        #expect(errors[0]?.message == "rank 2 (host local, process 102) was cancelled")
    }

    @Test func aKilledRankIsNoticed() throws {
        let ranks = LocalRanks(3)
        let errors = try ranks.perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions())
            do throws(DiffError) {
                if group.rank == 1 { ranks.kill(1) }
                try run.wait(run.receive(into: Self.room(10), from: 1, tag: 9, Self.plainRun()))
            } catch {
                throw run.failed(error)
            }
        }
        let text = "rank 1 (host local, process 101) was killed by signal 9"
        #expect(errors[0] == DiffError(.io, text))
        #expect(errors[2] == DiffError(.io, text))
    }

    @Test func aBrokenGroupBeginsNoFurtherRun() throws {
        let ranks = LocalRanks(2)
        let errors = try ranks.perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions())
            if group.rank == 1 { return ranks.kill(1) }
            do throws(DiffError) { try run.end() } catch {}
            _ = try group.begin(RankRunOptions())
        }
        #expect(errors[0]?.message == "rank 1 (host local, process 101) was killed by signal 9")
    }

    @Test func aSilentRankIsNoticed() throws {
        let ranks = LocalRanks(2)
        let errors = try ranks.perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions(timeout: 20))
            if group.rank == 1 { ranks.mute(1) }
            do throws(DiffError) {
                let other = 1 - group.rank
                try run.wait(run.receive(into: Self.room(10), from: other, tag: 9, Self.plainRun()))
            } catch {
                throw run.failed(error)
            }
        }
        #expect(
            errors[0]?.message
                == "rank 1 (host local, process 101) does not answer since 1000 s (rank_timeout is 20 s)")
    }

    @Test func otherFactsAreRefusedByName() throws {
        let errors = try LocalRanks(3).perform { (group) throws(DiffError) in
            let facts = [("version", "1.0"), ("checkpoint", group.rank == 2 ? "b" : "a")]
            try group.begin(RankRunOptions(facts: facts)).end()
        }
        let text =
            "rank 2 (host local, process 102) has another checkpoint than rank 0 (host local, process 100): b and a"
        #expect(errors == Array(repeating: DiffError(.incompatible, text), count: 3))
    }

    @Test func aRankThatCannotBeginSaysSo() throws {
        let errors = try LocalRanks(2).perform { (group) throws(DiffError) in
            if group.rank == 1 {
                group.decline(DiffError(.io, "no such model"))
            } else {
                do throws(DiffError) {
                    try group.begin(RankRunOptions()).end()
                    throw DiffError(.internal, "the run began")
                } catch {
                    guard error == DiffError(.io, "rank 1 (host local, process 101) failed: no such model") else {
                        throw error
                    }
                }
            }
            // The next one is for all.
            try group.begin(RankRunOptions()).end()
        }
        #expect(errors == [nil, nil])
    }

    @Test func whatNobodyReceivesIsDropped() throws {
        let ranks = LocalRanks(2)
        let errors = try ranks.perform { (group) throws(DiffError) in
            let run = try group.begin(RankRunOptions())
            let local = Self.plainRun()
            for tag in 0..<5 { _ = try run.send(Self.numbers(0, 4000), to: 1 - group.rank, tag: tag, local) }
            // And what nobody sends is not waited for.
            _ = try run.receive(into: Self.room(4000), from: 1 - group.rank, tag: 77, local)
            try run.end()
            try group.begin(RankRunOptions()).end()
        }
        #expect(errors == [nil, nil])
        #expect(ranks.unreceived == 0)
    }
}
