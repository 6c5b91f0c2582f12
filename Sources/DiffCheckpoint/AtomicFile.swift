public import DiffTensor
import Glibc

/// A file that appears under its name complete or not at all.
///
/// Written under a temporary name in the same directory, flushed to the device, then renamed. Whoever reads the name
/// meanwhile sees the old file. Dropping the object before ``commit()`` removes the temporary file. A symbolic link,
/// directory or device under the name is refused: nothing is ever written through a link.
public final class AtomicFile {
    /// The path under which the file will appear.
    public let path: String
    private let name: String
    private let temporary: String
    private let directory: Int32
    private var descriptor: Int32

    /// Creates the temporary file for `path`. Throws `io`, or `invalidArgument` for a path that names no file.
    public init(path: String) throws(DiffError) {
        try Directory.check(path: path)
        let (folder, name) = Self.split(path)
        guard Directory.isComponent(name) else {
            throw DiffError(.invalidArgument, "\(path): the path does not end in the name of a file")
        }
        let directory = Directory.retrying { unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        let number = errno
        guard directory >= 0 else { throw SystemError.error(folder, "cannot be opened", number) }
        do throws(DiffError) {
            let mode = try Self.modeOfExisting(name, in: directory, path: path)
            (descriptor, temporary) = try Self.asideStandardStreams(directory) { () throws(DiffError) in
                try Self.create(in: directory, path: path)
            }
            // A file that replaces another keeps its permissions; otherwise the process's mask has decided.
            if let mode { _ = fchmod(descriptor, mode) }
        } catch {
            _ = close(directory)
            throw error
        }
        (self.path, self.name, self.directory) = (path, name, directory)
    }

    deinit {
        if descriptor >= 0 {
            _ = close(descriptor)
            unsafe _ = unlinkat(directory, temporary, 0)
        }
        _ = close(directory)
    }

    /// Appends `bytes`. Throws `io`.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(DiffError) {
        var done = 0
        while done < bytes.count, let base = bytes.baseAddress {
            let piece = min(1 << 28, bytes.count &- done)
            let moved = Directory.retrying { unsafe Glibc.write(descriptor, base + done, piece) }
            let number = errno
            guard moved > 0, moved <= piece else {
                throw SystemError.error(path, "cannot be written", moved < 0 ? number : ENOSPC)
            }
            done &+= moved  // moved <= count - done: nothing can wrap
        }
    }

    /// Flushes the file and gives it its name. Throws `io`; the name then still stands for the old file, or none.
    public func commit() throws(DiffError) {
        guard descriptor >= 0 else { throw DiffError(.internal, "\(path): written already") }
        guard Directory.retrying({ fsync(descriptor) }) == 0 else {
            throw SystemError.error(path, "cannot be flushed", errno)
        }
        _ = try Self.modeOfExisting(name, in: directory, path: path)
        guard unsafe renameat(directory, temporary, directory, name) == 0 else {
            throw SystemError.error(path, "cannot be renamed into place", errno)
        }
        // The temporary name is gone: nothing is left for deinit to remove.
        _ = close(descriptor)
        descriptor = -1
        // The new file is in place; some file systems cannot flush a directory, which is no failure to write.
        let flushed = Directory.retrying { fsync(directory) }
        let number = errno
        guard flushed == 0 || number == EINVAL || number == EROFS else {
            throw SystemError.error(path, "its directory cannot be flushed", number)
        }
    }

    /// Writes `text` as the whole file `path`.
    public static func write(_ text: String, to path: String) throws(DiffError) {
        let file = try AtomicFile(path: path)
        let bytes = Array(text.utf8)
        try unsafe bytes.withUnsafeBufferPointer { (bytes) throws(DiffError) in
            try unsafe file.write(UnsafeRawBufferPointer(bytes))
        }
        try file.commit()
    }

    /// The folder of `path`, with its last slash, and the name in it.
    static func split(_ path: String) -> (folder: String, name: String) {
        var folder: [UInt8] = []
        var name: [UInt8] = []
        for byte in Array(path.utf8).each {
            name.append(byte)
            guard byte == UInt8(ascii: "/") else { continue }
            for letter in name.each { folder.append(letter) }
            name = []
        }
        return (folder.isEmpty ? "." : String(decoding: folder, as: UTF8.self), String(decoding: name, as: UTF8.self))
    }

    /// Permissions of the regular file under `name`, or nil when there is none. Throws `io` for anything else.
    private static func modeOfExisting(_ name: String, in directory: Int32, path: String) throws(DiffError) -> mode_t? {
        var status = stat()
        guard unsafe fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            let number = errno
            guard number == ENOENT else { throw SystemError.error(path, "cannot be examined", number) }
            return nil
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw DiffError(.io, "\(path): not a regular file, so it is not replaced")
        }
        return status.st_mode & 0o777
    }

    private static func create(in directory: Int32, path: String) throws(DiffError) -> (Int32, String) {
        for _ in 0..<16 {
            let temporary = ".diffaccel-\(String(UInt64.random(in: 0 ... .max), radix: 36)).tmp"
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
            let descriptor = Directory.retrying { unsafe openat(directory, temporary, flags, 0o666) }
            let number = errno
            if descriptor >= 0 { return (descriptor, temporary) }
            guard number == EEXIST else { throw SystemError.error(path, "cannot be created", number) }
        }
        throw SystemError.error(path, "cannot be created", EEXIST)
    }

    /// Runs `body` while the descriptors of standard streams that the host has closed stand for `directory`: a file opened in `body` is
    /// none of them, or what anybody in the process prints would land in it.
    private static func asideStandardStreams<R>(
        _ directory: Int32, _ body: () throws(DiffError) -> R
    ) throws(DiffError) -> R {
        let copy = fcntl(directory, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0, copy <= STDERR_FILENO else {
            if copy >= 0 { _ = close(copy) }
            return try body()
        }
        defer { _ = close(copy) }
        return try asideStandardStreams(directory, body)
    }
}
