import DiffTensor
import Glibc

/// A run of components that only wait: what a network does to asynchronous denoising, without the processors that it would take.
///
/// `rank-exercise network CALLS SECONDS:SECONDS:… TRANSFERS PREDICTION`, where each rank has its seconds a call, `TRANSFERS` are
/// `FROM>TO:BYTES@WHEN` separated by commas (when, as a share of the sender's seconds, the tensor is ready), and the last rank's
/// prediction of so many bytes goes to all. Rank 0 prints `call` and the mean seconds of a call, and before that `latency` and `bandwidth` as
/// plain messages see them.
struct Network {
    struct Transfer {
        let from: Int, to: Int, count: Int
        let when: Double
    }

    let group: RankGroup
    let calls: Int
    let seconds: [Double]
    let transfers: [Transfer]
    let prediction: Int

    init(_ group: RankGroup, _ arguments: [String]) throws(DiffError) {
        guard arguments.count == 4, let calls = Int(arguments[0]), let prediction = Int(arguments[3]) else {
            throw DiffError(.invalidArgument, "network CALLS SECONDS TRANSFERS PREDICTION")
        }
        (self.group, self.calls, self.prediction) = (group, calls, prediction / 4)
        seconds = arguments[1].split(separator: ":").compactMap { Double($0) }
        transfers = arguments[2].split(separator: ",").compactMap { text in
            let parts = text.split { ">:@".contains($0) }
            guard parts.count == 4, let from = Int(parts[0]), let to = Int(parts[1]), let bytes = Int(parts[2]),
                let when = Double(parts[3])
            else { return nil }
            return Transfer(from: from, to: to, count: bytes / 4, when: when)
        }
        guard seconds.count == group.count, transfers.allSatisfy({ max($0.from, $0.to) < group.count }) else {
            throw DiffError(.invalidArgument, "\(group.count) ranks, seconds of \(seconds.count)")
        }
    }

    func perform() throws(DiffError) -> String {
        let run = try group.begin(RankRunOptions())
        try probe(run)
        let local = Messages.local()
        let own = transfers.enumerated().filter { $0.element.from == run.rank }.sorted {
            $0.element.when < $1.element.when
        }
        let incoming = transfers.enumerated().filter { $0.element.to == run.rank }
        // Two generations of what goes out and what comes in.
        var (outs, ins): ([[Tensor]], [[Tensor]]) = ([], [])
        for _ in 0..<2 {
            outs.append(
                try own.map { (_, transfer) throws(DiffError) in try Messages.numbers(run.rank, transfer.count) })
            ins.append(try incoming.map { (_, transfer) throws(DiffError) in try Messages.room(transfer.count) })
        }
        let x = try Messages.numbers(0, prediction)
        var (expected, sent): ([RankMessage], [RankMessage]) = ([], [])
        try run.barrier()
        let began = Machine.seconds
        for call in 0..<calls {
            try run.wait(expected)
            // Received while this call computes.
            expected = []
            for (position, (tag, transfer)) in incoming.enumerated() {
                expected.append(
                    try run.receive(into: ins[call % 2][position], from: transfer.from, tag: tag, local))
            }
            let (start, before) = (Machine.seconds, sent)
            sent = []
            for (position, (tag, transfer)) in own.enumerated() {
                try compute(until: start + transfer.when * seconds[run.rank], run)
                sent.append(try run.send(outs[call % 2][position], to: transfer.to, tag: tag, local))
            }
            try compute(until: start + seconds[run.rank], run)
            try run.broadcast(x, from: run.count - 1, local)
            try run.wait(before)
        }
        try run.barrier()
        let mean = (Machine.seconds - began) / Double(calls)
        try run.end()
        if run.rank == 0 { say("call \(mean)") }
        return "ok"
    }

    /// Modules of some milliseconds each.
    private func compute(until end: Double, _ run: RankRun) throws(DiffError) {
        while Machine.seconds < end {
            usleep(UInt32(max(0, min(5000, (end - Machine.seconds) * 1e6))))
            try run.progress()
        }
    }

    /// Latency and bandwidth between ranks 0 and 1.
    private func probe(_ run: RankRun) throws(DiffError) {
        let (short, long) = (try Messages.numbers(0, 1), try Messages.numbers(0, 2_621_440))
        func bounce(_ x: Tensor, _ turns: Int) throws(DiffError) -> Double {
            try run.barrier()
            let began = Machine.seconds
            for _ in 0..<turns where run.rank < 2 {
                let other = 1 - run.rank
                if run.rank == 0 { try run.wait(run.send(x, to: other, tag: 9000, Messages.local())) }
                try run.wait(run.receive(into: x, from: other, tag: 9000, Messages.local()))
                if run.rank == 1 { try run.wait(run.send(x, to: other, tag: 9000, Messages.local())) }
            }
            return (Machine.seconds - began) / Double(turns) / 2
        }
        _ = try bounce(short, 10)
        let latency = try bounce(short, 100)
        _ = try bounce(long, 1)
        let transfer = try bounce(long, 5)
        if run.rank == 0 {
            say("latency \(latency)")
            say("bandwidth \(Double(long.byteCount) / (transfer - latency))")
        }
    }
}
