/// What carries bytes between ranks: an MPI plug-in (``PluginTransport``), or memory in tests.
///
/// Nothing here waits. Used by one thread at a time; ``RankGroup`` does all waiting, with the limits that belong to it. Messages of one
/// sender, receiver and tag arrive in the order in which they were sent.
package protocol RankTransport: AnyObject {
    /// This process among `0 ..< count`.
    var rank: Int { get }
    /// Number of processes.
    var count: Int { get }
    /// Bytes of one message at most; longer tensors are cut into several.
    var messageLimit: Int { get }

    /// Begins to send `count` bytes, which must stay as they are until ``state(of:)`` says that they were sent.
    func send(_ bytes: UnsafeRawPointer?, _ count: Int, to rank: Int, tag: Int) throws(DiffError) -> Int
    /// Begins to receive `count` bytes into `bytes`, which must stay allocated until ``state(of:)`` says how it ended.
    func receive(_ bytes: UnsafeMutableRawPointer?, _ count: Int, from rank: Int, tag: Int) throws(DiffError) -> Int
    /// How far a request is. One that has ended is forgotten with the answer.
    func state(of request: Int) throws(DiffError) -> RankRequestState
    /// Withdraws a receive that nothing has matched yet; its state becomes `withdrawn`, or `done` when it was too late.
    func withdraw(_ request: Int)
    /// The tag and size of the oldest message from `rank` that waits for a receive; nil when there is none.
    func waiting(from rank: Int) throws(DiffError) -> (tag: Int, count: Int)?

    /// Sends a control message; the bytes are copied.
    func tell(_ message: [UInt8], to rank: Int) throws(DiffError)
    /// The next control message of any rank.
    func heard() throws(DiffError) -> (from: Int, message: [UInt8])?

    /// From now on the processes of other ranks are watched where they run on this machine.
    func watch(_ members: [RankMember])
    /// What is known about the end of `rank`'s process, as `ended` or `was killed by signal 9`; nil: nothing.
    func end(of rank: Int) -> String?
    /// Seconds since the last sign of life of `rank`.
    func silence(of rank: Int) -> Double
    /// Ends the use of what carries the messages: in order, when all ranks have said that they leave, else without waiting for anyone.
    func close(orderly: Bool)
}

/// How far a request of a ``RankTransport`` is.
package enum RankRequestState: Sendable, Equatable {
    case pending
    /// Sent, or received with this number of bytes.
    case done(Int)
    case withdrawn
}

/// A rank as the others know it.
public struct RankMember: Sendable, Equatable, CustomStringConvertible {
    /// Its number.
    public let rank: Int
    /// Name of its machine, and the number of its process there.
    public let host: String, process: Int
    /// Equal for ranks that can see each other's processes: the system as booted, and its space of process numbers.
    let machine: String

    package init(rank: Int, host: String, process: Int, machine: String) {
        (self.rank, self.host, self.process, self.machine) = (rank, host, process, machine)
    }

    /// Such as `rank 2 (host node7, process 4711)`.
    public var description: String { "rank \(rank) (host \(host), process \(process))" }
}

/// What a tensor's elements are while they travel.
public enum RankWire: String, Sendable, CaseIterable {
    /// As they are: results have the bits of one process.
    case f32
    /// Rounded to bfloat16: half the bytes, other bits.
    case bf16

    var dtype: DType { self == .f32 ? .f32 : .bf16 }
}
