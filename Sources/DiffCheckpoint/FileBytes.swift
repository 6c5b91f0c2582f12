public import DiffTensor
import Glibc
import Synchronization

/// A regular file opened for reading, read by position.
///
/// Reading instead of mapping: truncating a mapped file kills the process. Devices, pipes, sockets and
/// directories are refused without being read, and opening never waits.
public final class FileBytes: Sendable {
    /// The path, for messages.
    public let path: String
    /// Bytes in the file when it was opened.
    public let size: Int
    /// What tells this very file, unchanged, from another under the same name.
    let identity: Identity
    private let descriptor: Int32

    struct Identity: Equatable, Sendable {
        let device: UInt
        let inode: UInt
        let size: Int
        let seconds: Int
        let nanoseconds: Int
    }

    /// Opens the file at `path`, which the caller chose: symbolic links are followed. Throws `io`.
    public convenience init(path: String) throws(DiffError) {
        try Directory.check(path: path)
        let descriptor = Directory.retrying { unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) }
        let number = errno
        guard descriptor >= 0 else { throw SystemError.error(path, "cannot be opened", number) }
        try self.init(adopting: descriptor, path: path)
    }

    /// Takes over an open descriptor; closes it when the file is refused.
    init(adopting descriptor: Int32, path: String) throws(DiffError) {
        self.descriptor = descriptor
        self.path = path
        let status: stat
        do throws(DiffError) {
            status = try Self.status(descriptor, path)
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw DiffError(.io, "\(path): \(Self.kind(status.st_mode)), not a regular file")
            }
            guard status.st_size >= 0, status.st_size <= Limits.fileBytes else {
                throw DiffError(.io, "\(path): a file of \(status.st_size) bytes is not read")
            }
        } catch {
            _ = close(descriptor)
            throw error
        }
        size = status.st_size
        identity = Identity(
            device: UInt(status.st_dev), inode: UInt(status.st_ino), size: status.st_size,
            seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }

    deinit { _ = close(descriptor) }

    /// Fills `target` with the bytes from `offset` on, in pieces that the threads of `pool` share. Throws `io` when they
    /// are not all there, or when the file's size is no longer what it was.
    public func read(
        at offset: Int, into target: UnsafeMutableRawBufferPointer, pool: WorkerPool? = nil
    ) throws(DiffError) {
        guard offset >= 0, let end = Checked.add(offset, target.count), end <= size else {
            throw DiffError(.io, "\(path): bytes \(offset)...+\(target.count) are not within the file's \(size)")
        }
        let pieces = target.count / Self.pieceBytes
        if let pool, pieces > 1, let base = target.baseAddress {
            let complete = Atomic(true)
            nonisolated(unsafe) let base = unsafe base
            let total = target.count
            pool.run(pieces &+ 1) { piece in
                let start = piece &* Self.pieceBytes  // at most the buffer's length
                let count = min(Self.pieceBytes, total &- start)
                let read: Void? = try? unsafe fill(at: offset &+ start, base + start, count)
                if read == nil { complete.store(false, ordering: .relaxed) }
            }
            // Once more in order, for the error that comes first.
            if !complete.load(ordering: .relaxed) { try unsafe fill(at: offset, base, total) }
        } else {
            try unsafe fill(at: offset, target.baseAddress, target.count)
        }
        if try Self.status(descriptor, path).st_size != size { throw changed() }
    }

    /// What one thread reads at a time: enough to make the hand-over cheap.
    private static let pieceBytes = 1 << 20

    private func fill(at offset: Int, _ target: UnsafeMutableRawPointer?, _ count: Int) throws(DiffError) {
        // One call may move at most 2 GiB; smaller pieces also let a slow file be interrupted.
        let most = 1 << 28
        var done = 0
        while done < count, let base = unsafe target {
            let wanted = min(most, count &- done)
            let position = offset &+ done
            let moved = Directory.retrying { unsafe pread(descriptor, base + done, wanted, position) }
            let number = errno
            if moved < 0 { throw SystemError.error(path, "cannot be read", number) }
            if moved == 0 || moved > wanted { throw changed() }
            done &+= moved
        }
    }

    /// The whole file in a block of its own, at most `limit` bytes. Throws `format` when it is larger.
    public func contents(limit: Int) throws(DiffError) -> Storage {
        guard size <= limit else {
            throw DiffError(.format, "\(path): \(size) bytes; at most \(limit) are read")
        }
        return try block(at: 0, count: size, budget: nil)
    }

    /// `count` bytes from `offset` on, in a block of their own.
    func block(at offset: Int, count: Int, budget: MemoryBudget?) throws(DiffError) -> Storage {
        // Before the allocation: the file cannot make us ask for more than it holds.
        guard offset >= 0, count >= 0, let end = Checked.add(offset, count), end <= size else {
            throw DiffError(.io, "\(path): bytes \(offset)...+\(count) are not within the file's \(size)")
        }
        let block = try Storage(byteCount: count, budget: budget)
        try unsafe read(at: offset, into: UnsafeMutableRawBufferPointer(start: block.base, count: count))
        return block
    }

    private func changed() -> DiffError { DiffError(.io, "\(path): the file changed while it was read") }

    private static func status(_ descriptor: Int32, _ path: String) throws(DiffError) -> stat {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw SystemError.error(path, "cannot be examined", errno)
        }
        return status
    }

    private static func kind(_ mode: mode_t) -> String {
        switch mode & S_IFMT {
        case S_IFDIR: "a directory"
        case S_IFIFO: "a pipe"
        case S_IFCHR, S_IFBLK: "a device"
        case S_IFSOCK: "a socket"
        default: "a special file"
        }
    }
}

extension Storage {
    /// Calls `body` with the block's bytes; the block lives at least until it returns.
    func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws(DiffError) -> R) throws(DiffError) -> R {
        defer { withExtendedLifetime(self) {} }
        return try unsafe body(UnsafeRawBufferPointer(start: base, count: base == nil ? 0 : byteCount))
    }
}
