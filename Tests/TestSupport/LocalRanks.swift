import DiffTensor
import Synchronization

/// Ranks that are threads of the test's process, with messages in memory and faults on demand.
public final class LocalRanks: Sendable {
    /// Number of ranks.
    public let count: Int
    private let hub: LocalHub

    /// `count` ranks; each message of data is seen `delay` seconds after it was sent, tensors travel in pieces of `messageLimit` bytes.
    public init(_ count: Int, delay: Double = 0, messageLimit: Int = 1 << 30) {
        self.count = count
        hub = LocalHub(count, delay: delay, messageLimit: messageLimit)
    }

    /// Calls `body` on a thread of its own for each rank, with its group, and returns the errors by rank when all calls have returned.
    public func perform(
        timeout: Double = 5, _ body: @Sendable (RankGroup) throws(DiffError) -> Void
    ) throws(DiffError) -> [DiffError?] {
        let outcomes = Mutex([DiffError?](repeating: nil, count: count))
        // As processes go on after a run: what a group still has to send or to drop stays until all ranks are done.
        let groups = Mutex([RankGroup]())
        try WorkerPool(threads: count).run(count) { rank in
            do throws(DiffError) {
                let transport = LocalTransport(hub, rank)
                let member = RankMember(rank: rank, host: "local", process: 100 + rank, machine: "test")
                let group = try RankGroup(transport, as: member, timeout: timeout)
                groups.withLock { $0.append(group) }
                try body(group)
            } catch {
                outcomes.withLock { $0[rank] = error }
            }
        }
        return groups.withLock { _ in outcomes.withLock { $0 } }
    }

    /// From now on nothing that `rank` does has an effect, and the others see that its process is gone.
    public func kill(_ rank: Int) { hub.state.withLock { $0.kill(rank) } }

    /// From now on `rank` shows no sign of life.
    public func mute(_ rank: Int) { hub.state.withLock { $0.muted[rank] = true } }

    /// Messages of data that nobody has received, by now.
    public var unreceived: Int { hub.state.withLock { $0.messages.count } }
}

private final class LocalHub: Sendable {
    struct Message {
        let from: Int, to: Int, tag: Int, request: Int, count: Int
        let visible: Double
        /// The sender's bytes, or a copy of them for a short message.
        let source: UnsafeRawPointer?
        let copy: [UInt8]?
    }

    struct Receive {
        let from: Int, to: Int, tag: Int, request: Int, count: Int
        let target: UnsafeMutableRawPointer?
    }

    struct State: @unchecked Sendable {
        var messages: [Message] = []
        var receives: [Receive] = []
        var requests: [Int: RankRequestState] = [:]
        var control: [[(from: Int, message: [UInt8])]]
        var killed: [Bool]
        var muted: [Bool]
        var next = 0

        init(_ count: Int) {
            control = Array(repeating: [], count: count)
            killed = Array(repeating: false, count: count)
            muted = killed
        }

        mutating func request() -> Int {
            next += 1
            requests[next] = .pending
            return next
        }

        mutating func kill(_ rank: Int) {
            killed[rank] = true
            messages.removeAll { $0.from == rank && $0.copy == nil || $0.to == rank }
            receives.removeAll { $0.to == rank }
        }

        /// Brings together what fits, in order.
        mutating func match() {
            let now = Machine.seconds
            for receive in receives {
                guard
                    let index = messages.firstIndex(where: {
                        $0.from == receive.from && $0.to == receive.to && $0.tag == receive.tag
                    }), messages[index].visible <= now
                else { continue }
                let message = messages.remove(at: index)
                receives.removeAll { $0.request == receive.request }
                let count = min(message.count, receive.count)
                if let copy = message.copy {
                    copy.withUnsafeBytes { receive.target?.copyMemory(from: $0.baseAddress!, byteCount: count) }
                } else if let source = message.source {
                    receive.target?.copyMemory(from: source, byteCount: count)
                    requests[message.request] = .done(message.count)
                }
                requests[receive.request] = .done(message.count)
            }
        }
    }

    let state: Mutex<State>
    let delay: Double
    let messageLimit: Int

    init(_ count: Int, delay: Double, messageLimit: Int) {
        state = Mutex(State(count))
        self.delay = delay
        self.messageLimit = messageLimit
    }
}

private final class LocalTransport: RankTransport {
    let rank: Int, count: Int
    private let hub: LocalHub
    var messageLimit: Int { hub.messageLimit }

    init(_ hub: LocalHub, _ rank: Int) {
        (self.hub, self.rank) = (hub, rank)
        count = hub.state.withLock { $0.killed.count }
    }

    private func perform<T>(_ body: (inout LocalHub.State) -> sending T) throws(DiffError) -> T {
        try hub.state.withLock { (state) throws(DiffError) in
            guard !state.killed[rank] else { throw DiffError(.internal, "this rank was killed by the test") }
            return body(&state)
        }
    }

    func send(_ bytes: UnsafeRawPointer?, _ count: Int, to other: Int, tag: Int) throws(DiffError) -> Int {
        nonisolated(unsafe) let bytes = bytes
        return try perform { state in
            let request = state.request()
            guard !state.killed[other] else { return request }
            let isShort = count <= 1024
            let copy = isShort ? Array(UnsafeRawBufferPointer(start: bytes, count: count)) + [0] : nil
            if isShort { state.requests[request] = .done(count) }
            state.messages.append(
                LocalHub.Message(
                    from: rank, to: other, tag: tag, request: request, count: count,
                    visible: Machine.seconds + hub.delay, source: bytes, copy: copy))
            return request
        }
    }

    func receive(
        _ bytes: UnsafeMutableRawPointer?, _ count: Int, from other: Int, tag: Int
    ) throws(DiffError) -> Int {
        nonisolated(unsafe) let bytes = bytes
        return try perform { state in
            let request = state.request()
            state.receives.append(
                LocalHub.Receive(from: other, to: rank, tag: tag, request: request, count: count, target: bytes))
            return request
        }
    }

    func state(of request: Int) throws(DiffError) -> RankRequestState {
        try perform { state in
            state.match()
            let answer = state.requests[request] ?? .withdrawn
            if answer != .pending { state.requests[request] = nil }
            return answer
        }
    }

    func withdraw(_ request: Int) {
        try? perform { state in
            guard let index = state.receives.firstIndex(where: { $0.request == request }) else { return }
            state.receives.remove(at: index)
            state.requests[request] = .withdrawn
        }
    }

    func waiting(from other: Int) throws(DiffError) -> (tag: Int, count: Int)? {
        try perform { state in
            state.match()
            return state.messages.first { message in
                message.from == other && message.to == rank && message.visible <= Machine.seconds
                    && !state.receives.contains {
                        $0.from == other && $0.to == rank && $0.tag == message.tag
                    }
            }.map { ($0.tag, $0.count) }
        }
    }

    func tell(_ message: [UInt8], to other: Int) throws(DiffError) {
        try perform { $0.control[other].append((rank, message)) }
    }

    func heard() throws(DiffError) -> (from: Int, message: [UInt8])? {
        try perform { state in state.control[rank].isEmpty ? nil : state.control[rank].removeFirst() }
    }

    func watch(_ members: [RankMember]) {}

    func end(of other: Int) -> String? {
        hub.state.withLock { $0.killed[other] ? "was killed by signal 9" : nil }
    }

    func silence(of other: Int) -> Double { hub.state.withLock { $0.muted[other] ? 1000 : 0 } }

    func close(orderly: Bool) {}
}
