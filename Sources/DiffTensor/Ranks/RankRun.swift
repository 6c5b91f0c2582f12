/// How ranks work on a run.
public struct RankRunOptions: Sendable {
    /// Facts on which all ranks must agree, by name, such as the version of the library or the checkpoint's fingerprint: see `RankFacts`.
    public var facts: [(name: String, value: String)]
    /// What elements of tensors are while they travel. Broadcasts are always exact.
    public var wire: RankWire
    /// Seconds without a sign of life after which a rank counts as gone.
    public var timeout: Double
    /// Asked in every wait.
    public var cancel: CancelFlag

    /// Nothing to agree on, exact tensors.
    public init(
        facts: [(name: String, value: String)] = [], wire: RankWire = .f32, timeout: Double = Ranks.timeout,
        cancel: CancelFlag = CancelFlag()
    ) {
        (self.facts, self.wire, self.timeout, self.cancel) = (facts, wire, timeout, cancel)
    }
}

/// One run of a group of ranks, from ``RankGroup/begin(_:)`` to ``end(_:)``.
///
/// Sends and receives return at once; everything that waits also attends to the other ranks, and throws
/// - `cancelled` when this rank or another one was asked to stop,
/// - the error that ended the run on another rank, "rank 1 (host …, process …) failed: …" in front,
/// - `io` when a rank's process is gone or shows no sign of life within the time limit.
///
/// Tensors must have memory (a dry run's calls do nothing). Used by one thread at a time.
public final class RankRun {
    /// The ranks.
    public let group: RankGroup
    /// Counts the runs of the group.
    let number: Int
    let options: RankRunOptions
    /// Why the run cannot go on, and the error of this rank as it arose.
    var failure: RankFailure?
    var own: DiffError?
    private(set) var isOver = false
    private var sequence = 0
    /// Messages on their way.
    private(set) var open: [RankMessage] = []
    /// Messages by rank: those sent there, and those that came from there.
    var sent: [Int], received: [Int]

    init(_ group: RankGroup, number: Int, _ options: RankRunOptions) {
        (self.group, self.number, self.options) = (group, number, options)
        sent = Array(repeating: 0, count: max(1, group.count))
        received = sent
    }

    deinit {
        if !isOver { _ = failed(DiffError(.internal, "the run was given up")) }
    }

    /// This process among `0 ..< count`.
    public var rank: Int { group.rank }
    /// Number of ranks.
    public var count: Int { group.count }
    /// Bytes sent to other ranks so far.
    public private(set) var bytesSent = 0

    // MARK: Tensors

    /// Begins to send `x` (f32) to `rank` under `tag` (0 ..< 16000). Its contents stay what they are, as those of all tensors, and are kept.
    /// With `exact` they travel as they are, whatever the run's wire.
    public func send(
        _ x: Tensor, to rank: Int, tag: Int, exact: Bool = false, _ run: Run
    ) throws(DiffError) -> RankMessage {
        guard run.isLive else { return RankMessage(doneWith: rank, isSend: true, group.transport) }
        try check(x, rank, tag)
        var form = x
        if options.wire != .f32, !exact {
            form = try Tensor(
                run.workspace.block(x.shape.count &* options.wire.dtype.size), x.shape, options.wire.dtype)
            try x.narrow(into: form, pool: run.pool)
        }
        return try post(form, to: rank, tag)
    }

    private func post(_ form: Tensor, to rank: Int, _ tag: Int) throws(DiffError) -> RankMessage {
        let message = try RankMessage(
            sending: form, to: rank, rawTag: RankTag.of(tag, run: number), group.transport)
        sent.update(at: rank) { $0 &+= message.count }
        bytesSent = Checked.sum(bytesSent, form.byteCount)
        open.append(message)
        return message
    }

    /// Begins to receive what `rank` sends under `tag` into `x`, f32 of the same size, which holds it once `wait(_:)` returns.
    /// `exact` as it was sent.
    public func receive(
        into x: Tensor, from rank: Int, tag: Int, exact: Bool = false, _ run: Run
    ) throws(DiffError) -> RankMessage {
        guard run.isLive else { return RankMessage(doneWith: rank, isSend: false, group.transport) }
        try check(x, rank, tag)
        guard options.wire != .f32, !exact else { return try post(receiving: x, from: rank, tag) }
        let form = try Tensor(
            run.workspace.block(x.shape.count &* options.wire.dtype.size), x.shape, options.wire.dtype)
        return try post(receiving: form, from: rank, tag, into: x, pool: run.pool)
    }

    private func post(
        receiving form: Tensor, from rank: Int, _ tag: Int, into x: Tensor? = nil, pool: WorkerPool? = nil
    ) throws(DiffError) -> RankMessage {
        let message = try RankMessage(
            receiving: form, from: rank, rawTag: RankTag.of(tag, run: number), group.transport, into: x, pool: pool)
        open.append(message)
        return message
    }

    private func check(_ x: Tensor, _ rank: Int, _ tag: Int) throws(DiffError) {
        guard rank >= 0, rank < count, rank != self.rank, tag >= 0, tag < RankTag.limit || tag == RankTag.broadcast,
            x.dtype == .f32, !isOver
        else {
            throw DiffError(.internal, "no message \(tag) of \(x.dtype.name) elements with rank \(rank) of \(count)")
        }
    }

    /// Whether `message` has arrived, without waiting.
    public func isDone(_ message: RankMessage) throws(DiffError) -> Bool {
        if message.isDone { return true }
        let before = message.piecesDone
        let isDone = try message.advance()
        let came = message.isSend ? 0 : message.piecesDone &- before
        received.update(at: message.peer) { $0 &+= came }
        guard isDone else { return false }
        open = open.each.filter { $0 !== message }
        guard message.isWhole else {
            let (expected, arrived) = message.sizes
            throw DiffError(
                .internal, "\(group.name(message.peer)) sent \(arrived) bytes where \(expected) were expected")
        }
        return true
    }

    /// Returns when these have arrived.
    public func wait(_ messages: [RankMessage]) throws(DiffError) {
        for message in messages.each {
            try wait { () throws(DiffError) in try isDone(message) }
        }
    }

    /// Returns when this one has arrived.
    public func wait(_ message: RankMessage) throws(DiffError) { try wait([message]) }

    /// Moves messages on and attends to the other ranks: to be called now and then in long work, such as between modules.
    public func progress() throws(DiffError) {
        for message in open.each { _ = try isDone(message) }
        try attend()
    }

    /// Puts `x` of the rank `root` into every rank's `x`.
    public func broadcast(_ x: Tensor, from root: Int, _ run: Run) throws(DiffError) {
        guard run.isLive, count > 1 else { return }
        guard rank == root else {
            try check(x, root, RankTag.broadcast)
            return try wait(post(receiving: x, from: root, RankTag.broadcast))
        }
        var messages: [RankMessage] = []
        for other in Indices(below: count) where other != rank {
            try check(x, other, RankTag.broadcast)
            messages.append(try post(x, to: other, RankTag.broadcast))
        }
        try wait(messages)
    }

    // MARK: Small things

    /// Shows `bytes` (some KiB at most) to all ranks, and gives those of all, by rank. All ranks call it in the same order.
    public func share(_ bytes: [UInt8]) throws(DiffError) -> [[UInt8]] {
        let turn = sequence
        sequence &+= 1
        let message = RankControl.share(sequence: turn, bytes).bytes(run: number)
        for other in others.each { try group.transport.tell(message, to: other) }
        var all: [[UInt8]] = []
        for other in Indices(below: count) {
            guard other != rank else {
                all.append(bytes)
                continue
            }
            var found: [UInt8]?
            try wait { () throws(DiffError) in
                found = group.share(of: other, run: number, sequence: turn)
                return found != nil
            }
            all.append(found ?? [])
        }
        return all
    }

    /// Returns when all ranks have called it.
    public func barrier() throws(DiffError) { _ = try share([]) }

    var others: [Int] { Indices(below: count).filter { $0 != rank } }

    func wait(until isThere: () throws(DiffError) -> Bool) throws(DiffError) {
        let pause = Pause()
        while try !isThere() {
            try attend()
            pause.rest()
        }
    }

    /// Throws when the run cannot go on.
    private func attend() throws(DiffError) {
        if let failure { throw failure.error }
        do throws(DiffError) {
            try group.listen()
            // What others say of a rank at fault comes first: they may end because of it.
            for other in others.each {
                guard let end = group.end(of: other, run: number)?.failure else { continue }
                failure = end
                throw end.error
            }
            try look()
        } catch {
            if failure == nil { failure = group.lost ?? RankFailure(origin: rank, error: error) }
            throw error
        }
        try options.cancel.check()
    }

    func look() throws(DiffError) {
        // Whoever leaves has done its part in getting to know each other.
        try group.look(timeout: options.timeout) { number == 0 || group.end(of: $0, run: number) != nil }
    }

    /// The run is over on this rank.
    func finish() {
        isOver = true
        group.close(number, open)
    }

    /// Ends a run that only served to exchange what the group needs to know.
    func abandon() {
        isOver = true
        group.close(number, [])
    }
}

/// Pauses of a wait that grow with it: short at first, and never more than a small part of what was waited for.
struct Pause {
    private let began = Machine.seconds

    func rest() { Machine.rest((Machine.seconds - began) / 64) }
}
