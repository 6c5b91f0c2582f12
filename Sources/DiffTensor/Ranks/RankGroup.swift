import Synchronization

/// The processes that work on runs together, as one of them sees them.
///
/// Made once a process (``Ranks/join(plugin:cancel:)``) and used for one run after another, each of which all ranks begin (``begin(_:)``)
/// and end. Whatever ends a run on one rank ends it on all; a rank whose process is gone breaks the group for good.
public final class RankGroup: @unchecked Sendable {
    // Unchecked: used by the one thread that began a run, which `busy` sees to.
    /// This process among `0 ..< count`. The root, rank 0, is the one whose results count.
    public let rank: Int
    /// Number of ranks.
    public let count: Int
    /// All ranks, this one included.
    public private(set) var members: [RankMember] = []

    let transport: any RankTransport
    private let busy = Atomic<Bool>(false)
    /// Runs begun so far.
    private var runs = 0
    /// Why no further run can begin.
    private var broken: RankFailure?
    private var inbox: [Inbox]
    /// Messages of ended runs that are still on their way: their bytes must stay.
    private var loose: [RankMessage] = []
    private var lastLook = 0.0

    /// What a rank has said and nobody has asked for yet.
    private struct Inbox {
        var shares: [(run: Int, sequence: Int, bytes: [UInt8])] = []
        var ends: [(run: Int, messages: Int, failure: RankFailure?)] = []
        /// The last run that it has shown to have begun.
        var begun = 0
        var hasLeft = false
    }

    /// The group that `transport` connects; returns when all ranks have joined. Waits as long as they show signs of life within `timeout`
    /// seconds. Throws `cancelled`, and `unsupported` when the ranks are not of one kind.
    package init(
        _ transport: any RankTransport, as member: RankMember, timeout: Double = Ranks.timeout,
        cancel: CancelFlag = CancelFlag()
    ) throws(DiffError) {
        self.transport = transport
        (rank, count) = (transport.rank, transport.count)
        inbox = Array(repeating: Inbox(), count: max(1, transport.count))
        var hello = ByteWriter()
        hello.text(member.host)
        hello.number(member.process)
        hello.text(member.machine)
        let run = RankRun(self, number: 0, RankRunOptions(timeout: timeout, cancel: cancel))
        defer { run.abandon() }
        var members: [RankMember] = []
        for (rank, bytes) in try run.share(hello.bytes).numbered {
            var input = ByteReader(bytes)
            guard let host = input.text(), let process = input.number(), let machine = input.text() else {
                throw DiffError(.unsupported, "rank \(rank) runs another version of the library")
            }
            members.append(RankMember(rank: rank, host: host, process: process, machine: machine))
        }
        self.members = members
        transport.watch(members)
    }

    /// Begins a run, which all ranks do; returns when all have, and they agree on `options.facts`.
    ///
    /// Throws `busy` while a run goes on, `incompatible` when a rank's facts differ (the text names it and what differs), `cancelled`,
    /// and `io` when a rank is gone; see ``RankRun/progress()``.
    public func begin(_ options: RankRunOptions) throws(DiffError) -> RankRun {
        try claim()
        do throws(DiffError) {
            if let broken { throw broken.error }
        } catch {
            busy.store(false, ordering: .releasing)
            throw error
        }
        runs &+= 1
        let run = RankRun(self, number: runs, options)
        do throws(DiffError) {
            try run.compareFacts()
        } catch {
            throw run.failed(error)
        }
        return run
    }

    /// Takes part in the next run only to end it on all ranks with `error`: for what fails on one rank before it can begin.
    public func decline(_ error: DiffError) {
        guard broken == nil, (try? claim()) != nil else { return }
        runs &+= 1
        _ = RankRun(self, number: runs, RankRunOptions()).failed(error)
    }

    private func claim() throws(DiffError) {
        guard busy.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else {
            throw DiffError(.busy, "these ranks are at work on a run already; they do one at a time")
        }
    }

    /// Says that this process takes no further part, waits until all say so, and closes what carries the messages. For the end of the process.
    ///
    /// Does not wait when a rank is gone, and does nothing while a run goes on.
    public func leave() {
        guard (try? claim()) != nil else { return }
        var isOrderly = false
        defer { transport.close(orderly: isOrderly) }
        let others = Indices(below: count).filter { $0 != rank }
        for other in others.each { try? transport.tell(RankControl.leave.bytes(run: runs), to: other) }
        let pause = Pause()
        while others.each.contains(where: { inbox.at($0)?.hasLeft == false }) {
            guard (try? listen()) != nil, (try? look(timeout: Ranks.timeout) { _ in true }) != nil else { return }
            pause.rest()
        }
        isOrderly = true
    }

    // MARK: What runs ask for

    /// Takes in what other ranks say.
    func listen() throws(DiffError) {
        while let (from, bytes) = try transport.heard() {
            guard let (run, message) = RankControl.read(bytes) else {
                throw DiffError(.unsupported, "\(name(from)) runs another version of the library")
            }
            inbox.update(at: from) { box in
                switch message {
                case .share(let sequence, let bytes):
                    box.begun = max(box.begun, run)
                    box.shares.append((run, sequence, bytes))
                case .end(let messages, let failure): box.ends.append((run, messages, failure))
                case .leave: box.hasLeft = true
                }
            }
        }
    }

    /// Looks now and then whether the others are alive, and throws when one is gone; `mayLeave` says whose part is done.
    func look(timeout: Double, _ mayLeave: (Int) -> Bool) throws(DiffError) {
        let now = Machine.seconds
        guard now - lastLook > 0.01 else { return }
        lastLook = now
        let needed = Indices(below: count).filter { other in
            other != rank && !(inbox.at(other)?.hasLeft == true && mayLeave(other))
        }
        // One that was killed before one that left because of that.
        for other in needed.each {
            if let end = transport.end(of: other) { throw gone(other, "\(name(other)) \(end)") }
        }
        for other in needed.each {
            if inbox.at(other)?.hasLeft == true { throw gone(other, "\(name(other)) has left: its program ended") }
            let silence = transport.silence(of: other)
            if silence > timeout {
                let (since, most) = (Self.whole(silence), Self.whole(timeout))
                throw gone(other, "\(name(other)) does not answer since \(since) s (rank_timeout is \(most) s)")
            }
        }
        sweep()
    }

    private static func whole(_ seconds: Double) -> Int { Checked.integer(seconds.rounded(.down)) ?? 0 }

    private func gone(_ other: Int, _ text: String) -> DiffError {
        let failure = RankFailure(origin: other, error: DiffError(.io, text))
        if broken == nil { broken = failure }
        return failure.error
    }

    /// The rank that is gone, with what was said of it; nil: none.
    var lost: RankFailure? { broken }

    /// The `sequence`-th bytes that `rank` shared in `run`, taken out of the inbox.
    func share(of rank: Int, run: Int, sequence: Int) -> [UInt8]? {
        var found: [UInt8]?
        inbox.update(at: rank) { box in
            found = box.shares.each.first { $0.run == run && $0.sequence == sequence }?.bytes
            // What belongs to runs that are over goes too.
            box.shares = box.shares.each.filter { $0.run > run || $0.run == run && $0.sequence > sequence }
        }
        return found
    }

    /// Whether and how `rank` ended `run`.
    func end(of rank: Int, run: Int) -> (messages: Int, failure: RankFailure?)? {
        inbox.at(rank)?.ends.each.first { $0.run == run }.map { ($0.messages, $0.failure) }
    }

    /// The run is over on this rank; `loose`: its messages that are still on their way.
    func close(_ run: Int, _ loose: [RankMessage]) {
        for message in loose.each { self.loose.append(message) }
        for other in Indices(below: count) {
            inbox.update(at: other) { box in
                box.ends = box.ends.each.filter { $0.run > run }
                box.shares = box.shares.each.filter { $0.run > run }
            }
        }
        busy.store(false, ordering: .releasing)
    }

    /// Receives and forgets messages of earlier runs, and lets go of what has arrived.
    private func sweep() {
        for other in Indices(below: count) where other != rank {
            while let (tag, _) = try? transport.waiting(from: other), !RankTag.belongs(tag, to: runs) {
                guard discard(from: other) else { break }
            }
        }
        loose = loose.each.filter { !((try? $0.advance()) ?? true) }
    }

    /// Begins to receive the oldest message of `other` that nothing waits for, only to forget it; false when there is none.
    func discard(from other: Int) -> Bool {
        guard let (tag, size) = try? transport.waiting(from: other),
            let block = try? Storage(byteCount: max(4, size), budget: nil),
            let whole = try? Shape(size), let bytes = try? Tensor(block, whole, .int8),
            let message = try? RankMessage(receiving: bytes, from: other, rawTag: tag, transport)
        else { return false }
        loose.append(message)
        return true
    }

    /// Such as `rank 2 (host node7, process 4711)`.
    func name(_ rank: Int) -> String { members.at(rank)?.description ?? "rank \(rank)" }

    /// Whether `rank` has shown that it began `run`.
    func hasBegun(_ rank: Int, _ run: Int) -> Bool {
        (inbox.at(rank)?.begun ?? 0) >= run
    }
}
