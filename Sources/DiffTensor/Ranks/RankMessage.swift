/// A tensor on its way to another rank or from it; its bytes are kept until it has arrived.
public final class RankMessage {
    /// The rank at the other end.
    public let peer: Int
    /// Whether it leaves this rank.
    public let isSend: Bool
    let transport: any RankTransport
    private var requests: [Int] = []
    private var next = 0
    private let expected: Int
    private var arrived = 0
    /// Its messages of the transport that have arrived.
    private(set) var piecesDone = 0
    /// What travels, kept alive.
    private let storage: Storage?
    /// Where a received tensor goes that travels in another type, and the form in which it comes.
    private let unpacking: (source: Tensor, target: Tensor, pool: WorkerPool?)?
    /// Whether all bytes are where they should be.
    private(set) var isDone = false

    /// Begins to send the elements of `tensor`.
    init(sending tensor: Tensor, to peer: Int, rawTag tag: Int, _ transport: any RankTransport) throws(DiffError) {
        (self.peer, isSend, self.transport, storage, unpacking) = (peer, true, transport, tensor.storage, nil)
        expected = tensor.byteCount
        try pieces { (start, count) throws(DiffError) in
            try unsafe transport.send(
                tensor.raw.map { unsafe UnsafeRawPointer($0 + start) }, count, to: peer, tag: tag)
        }
    }

    /// Begins to receive the elements of `tensor`; once they are there they go on to `target` in its type.
    init(
        receiving tensor: Tensor, from peer: Int, rawTag tag: Int, _ transport: any RankTransport,
        into target: Tensor? = nil,
        pool: WorkerPool? = nil
    ) throws(DiffError) {
        (self.peer, isSend, self.transport, storage) = (peer, false, transport, tensor.storage)
        unpacking = target.map { (tensor, $0, pool) }
        expected = tensor.byteCount
        try pieces { (start, count) throws(DiffError) in
            try unsafe transport.receive(tensor.raw.map { unsafe $0 + start }, count, from: peer, tag: tag)
        }
    }

    /// A message that is there already, as in a dry run.
    init(doneWith peer: Int, isSend: Bool, _ transport: any RankTransport) {
        (self.peer, self.isSend, self.transport, storage, unpacking, expected) = (peer, isSend, transport, nil, nil, 0)
        isDone = true
    }

    /// Number of messages of the transport that it takes.
    var count: Int { requests.count }

    private func pieces(_ begin: (Int, Int) throws(DiffError) -> Int) throws(DiffError) {
        var start = 0
        repeat {
            let count = min(expected &- start, max(1, transport.messageLimit))
            requests.append(try begin(start, count))
            start &+= count
        } while start < expected
    }

    /// Looks how far it is: true when it has arrived, or was withdrawn.
    func advance() throws(DiffError) -> Bool {
        if isDone { return true }
        while let request = requests.at(next) {
            switch try transport.state(of: request) {
            case .pending: return false
            case .done(let bytes):
                arrived = Checked.sum(arrived, bytes)
                piecesDone &+= 1
            case .withdrawn: break
            }
            next &+= 1
        }
        isDone = true
        guard let (source, target, pool) = unpacking, arrived == expected else { return true }
        try source.widen(into: target, pool: pool)
        return true
    }

    /// Whether everything that was expected came.
    var isWhole: Bool { isSend || arrived == expected }

    /// What it should have brought, and what it did.
    var sizes: (expected: Int, arrived: Int) { (expected, arrived) }

    /// Gives up what has not begun to arrive.
    func withdraw() {
        guard !isSend, !isDone else { return }
        for (position, request) in requests.numbered where position >= next { transport.withdraw(request) }
    }
}

/// Tags of messages: the run, so that what is left of one is not taken for the next one's, and the number that the caller gives.
enum RankTag {
    /// Numbers below this are the callers'.
    static let limit = 16000
    /// That of broadcasts.
    static let broadcast = 16001
    private static let width = 14
    private static let runs = 64
    /// What a transport must be able to number.
    static let bound = (runs << width) - 1

    static func of(_ number: Int, run: Int) -> Int { (run & (runs &- 1)) << width | number }

    static func belongs(_ tag: Int, to run: Int) -> Bool { tag >> width == run & (runs &- 1) }
}
