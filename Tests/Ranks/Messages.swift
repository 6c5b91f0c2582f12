import DiffTensor
import Glibc

/// Exercises with messages that all ranks take part in.
struct Messages {
    let group: RankGroup

    init(_ group: RankGroup) { self.group = group }

    static func local() -> Run { Run(pool: nil, budget: nil) }

    static func numbers(_ seed: Int, _ count: Int) throws(DiffError) -> Tensor {
        let x = try Tensor(uninitialized: Shape(count), budget: nil)
        if let values = x.floats {
            for index in 0..<count { values[index] = Float((index &* 31 &+ seed &* 977) % 65521) }
        }
        return x
    }

    static func room(_ count: Int) throws(DiffError) -> Tensor { try Tensor(uninitialized: Shape(count), budget: nil) }

    static func check(_ x: Tensor, _ seed: Int, _ place: String) throws(DiffError) {
        guard let values = x.floats else { return }
        for index in 0..<x.shape.count where values[index] != Float((index &* 31 &+ seed &* 977) % 65521) {
            throw DiffError(.internal, "\(place): element \(index) is \(values[index])")
        }
    }

    /// One message around the ring, in a run of its own.
    func ring() throws(DiffError) {
        let run = try group.begin(RankRunOptions())
        let (next, previous) = ((run.rank + 1) % run.count, (run.rank + run.count - 1) % run.count)
        let into = try Self.room(1000)
        let incoming = try run.receive(into: into, from: previous, tag: 1, Self.local())
        try run.wait([incoming, run.send(Self.numbers(run.rank, 1000), to: next, tag: 1, Self.local())])
        try Self.check(into, previous, "ring")
        try run.end()
    }

    /// Every rank to every other one at once: from nothing to 20 MiB, receives before sends and after, many at a time, both wires.
    func perform() throws(DiffError) -> String {
        for wire in RankWire.allCases {
            let run = try group.begin(RankRunOptions(wire: wire))
            let others = (0..<run.count).filter { $0 != run.rank }
            let sizes = [0, 1, 1023, 1024, 16384, 262_144, 5_242_880] + Array(repeating: 40_000, count: 24)
            var (rooms, messages): ([(Tensor, Int)], [RankMessage]) = ([], [])
            // Half of the receives stand before anything is sent.
            for (tag, size) in sizes.enumerated() where tag % 2 == 0 { try post(tag, size) }
            try run.barrier()
            for (tag, size) in sizes.enumerated() {
                for other in others {
                    messages.append(try run.send(Self.numbers(run.rank + tag, size), to: other, tag: tag, Self.local()))
                }
                try run.progress()
            }
            for (tag, size) in sizes.enumerated() where tag % 2 == 1 { try post(tag, size) }
            try run.wait(messages)
            for (x, seed) in rooms where wire == .f32 { try Self.check(x, seed, "from \(seed)") }
            for root in 0..<run.count {
                let x = run.rank == root ? try Self.numbers(root, 32768) : try Self.room(32768)
                try run.broadcast(x, from: root, Self.local())
                try Self.check(x, root, "broadcast of \(root)")
            }
            let all = try run.share(Array(repeating: UInt8(run.rank), count: 10000))
            for (rank, bytes) in all.enumerated() where bytes != Array(repeating: UInt8(rank), count: 10000) {
                throw DiffError(.internal, "shared by \(rank)")
            }
            // Nobody receives this, and nobody sends that.
            _ = try run.send(Self.numbers(0, 300_000), to: others[0], tag: 500, Self.local())
            _ = try run.receive(into: Self.room(10), from: others[0], tag: 501, Self.local())
            try run.end()

            func post(_ tag: Int, _ size: Int) throws(DiffError) {
                for other in others {
                    let x = try Self.room(size)
                    rooms.append((x, other + tag))
                    messages.append(try run.receive(into: x, from: other, tag: tag, Self.local()))
                }
            }
        }
        try ring()
        return "ok"
    }

    /// Messages of one tag keep their order, also when some are short and some are long.
    func inOrder() throws(DiffError) -> String {
        let run = try group.begin(RankRunOptions())
        let (next, previous) = ((run.rank + 1) % run.count, (run.rank + run.count - 1) % run.count)
        let sizes = (0..<60).map { $0 % 3 == 0 ? 200_000 : 10 + $0 }
        var messages: [RankMessage] = []
        for (index, size) in sizes.enumerated() {
            messages.append(try run.send(Self.numbers(index, size), to: next, tag: 5, Self.local()))
        }
        for (index, size) in sizes.enumerated() {
            let x = try Self.room(size)
            try run.wait(run.receive(into: x, from: previous, tag: 5, Self.local()))
            try Self.check(x, index, "message \(index)")
        }
        try run.wait(messages)
        try run.end()
        return "ok"
    }

    /// Whether a large message arrives while both ends compute and call nothing.
    func overlap() throws(DiffError) -> String {
        let run = try group.begin(RankRunOptions())
        let (next, previous) = ((run.rank + 1) % run.count, (run.rank + run.count - 1) % run.count)
        let into = try Self.room(5_242_880)
        let incoming = try run.receive(into: into, from: previous, tag: 1, Self.local())
        try run.barrier()
        let outgoing = try run.send(Self.numbers(run.rank, 5_242_880), to: next, tag: 1, Self.local())
        // Far longer than it takes.
        sleep(2)
        let (hasCome, hasGone) = (try run.isDone(incoming), try run.isDone(outgoing))
        try run.wait([incoming, outgoing])
        try Self.check(into, previous, "overlap")
        try run.end()
        return hasCome && hasGone ? "ok" : "nothing moved while the ranks computed"
    }
}
