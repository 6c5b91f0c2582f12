public import DiffTensor
import Glibc

/// An open directory; names found in files are looked up here and nowhere else.
///
/// Every name must be a single path component. Symbolic links are refused unless the caller asked to follow them, as
/// is needed for download caches that consist of links.
public final class Directory: Sendable {
    /// The path, for messages.
    public let path: String
    /// Whether links inside the directory are followed.
    public let followsLinks: Bool
    private let descriptor: Int32

    /// Opens the directory at `path`, itself possibly behind a link. Throws `io`.
    public init(path: String, followingLinks: Bool = false) throws(DiffError) {
        try Self.check(path: path)
        self.path = path
        followsLinks = followingLinks
        descriptor = Self.retrying { unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK) }
        let number = errno
        guard descriptor >= 0 else { throw SystemError.error(path, "cannot be opened", number) }
    }

    private init(adopting descriptor: Int32, path: String, followingLinks: Bool) {
        (self.descriptor, self.path, followsLinks) = (descriptor, path, followingLinks)
    }

    deinit { _ = close(descriptor) }

    /// Whether there is a directory at `path` (links followed). Throws `io` when nothing can be learned about it.
    public static func isDirectory(_ path: String) throws(DiffError) -> Bool {
        try check(path: path)
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw SystemError.error(path, "cannot be opened", errno) }
        return status.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether nothing stands under `path`. Throws `io` when that cannot be learned.
    public static func isAbsent(_ path: String) throws(DiffError) -> Bool {
        try check(path: path)
        var status = stat()
        guard unsafe lstat(path, &status) != 0 else { return false }
        let number = errno
        guard number == ENOENT else { throw SystemError.error(path, "cannot be examined", number) }
        return true
    }

    /// Makes the directory `path` unless it is there; those above it must be. Throws `io`.
    public static func make(_ path: String) throws(DiffError) {
        try check(path: path)
        let made = unsafe mkdir(path, 0o777)
        let number = errno
        guard made == 0 || number == EEXIST else { throw SystemError.error(path, "cannot be made", number) }
        guard try isDirectory(path) else { throw SystemError.error(path, "cannot be made", ENOTDIR) }
    }

    /// Opens the regular file `name` of this directory. Throws `io`, or `format` for a name that is not one
    /// component.
    public func open(_ name: String) throws(DiffError) -> FileBytes {
        try Self.check(component: name)
        let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (followsLinks ? 0 : O_NOFOLLOW)
        let descriptor = Self.retrying { unsafe openat(self.descriptor, name, flags) }
        let number = errno
        guard descriptor >= 0 else { throw refused(name, number) }
        return try FileBytes(adopting: descriptor, path: "\(path)/\(name)")
    }

    /// The same for a file that belongs to the one at `path`. Where that one is a link, as in a download cache, it may be a link into
    /// the same folder of contents.
    func open(_ name: String, besides path: String) throws(DiffError) -> FileBytes {
        guard !followsLinks, let status = try status(name, AT_SYMLINK_NOFOLLOW), status.st_mode & S_IFMT == S_IFLNK
        else {
            return try open(name)
        }
        guard let target = Self.resolved("\(self.path)/\(name)"), let owner = Self.resolved(path), Self.isLink(path),
            target.folder == owner.folder
        else {
            throw DiffError(
                .io,
                "\(self.path)/\(name): cannot be opened: is a symbolic link, which \(path) is not, or leads elsewhere: copy the "
                    + "folder with its links resolved (cp -rL)")
        }
        return try Directory(path: owner.folder).open(target.name)
    }

    private static func isLink(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
    }

    /// The folder and the name that `path` leads to; nil when it leads nowhere.
    private static func resolved(_ path: String) -> (folder: String, name: String)? {
        let full: String? = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Limits.pathBytes) { buffer in
            guard unsafe realpath(path, buffer.baseAddress) != nil else { return nil }
            return unsafe String(untilNUL: UnsafeRawBufferPointer(buffer))
        }
        return full.map { AtomicFile.split($0) }
    }

    /// Opens the directory `name` of this one. Throws `io`, or `format` for a name that is not one component.
    public func subdirectory(_ name: String) throws(DiffError) -> Directory {
        try Self.check(component: name)
        let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (followsLinks ? 0 : O_NOFOLLOW)
        let opened = Self.retrying { unsafe openat(descriptor, name, flags) }
        let number = errno
        guard opened >= 0 else { throw refused(name, number) }
        return Directory(adopting: opened, path: "\(path)/\(name)", followingLinks: followsLinks)
    }

    private func refused(_ name: String, _ number: Int32) -> DiffError {
        guard (number == ELOOP || number == ENOTDIR), !followsLinks,
            let status = try? status(name, AT_SYMLINK_NOFOLLOW),
            status.st_mode & S_IFMT == S_IFLNK
        else { return SystemError.error("\(path)/\(name)", "cannot be opened", number) }
        return DiffError(
            .io,
            "\(path)/\(name): cannot be opened: is a symbolic link, which is followed only on request, as download caches need "
                + "it: follow_links (--follow-links), or copy the folder with its links resolved (cp -rL)")
    }

    /// Whether something called `name` is there, whatever it is: a broken link must not look like nothing, or another
    /// file would be taken in its place. Throws `io` when that cannot be learned, for the same reason, and
    /// `format` when `name` is not one component.
    public func contains(_ name: String) throws(DiffError) -> Bool { try status(name, AT_SYMLINK_NOFOLLOW) != nil }

    /// Whether `name` is a directory in this one. Throws as ``contains(_:)``.
    public func containsDirectory(_ name: String) throws(DiffError) -> Bool {
        guard let status = try status(name, followsLinks ? 0 : AT_SYMLINK_NOFOLLOW) else { return false }
        return status.st_mode & S_IFMT == S_IFDIR
    }

    /// The names that end in `suffix`, sorted. Throws `io`.
    public func names(endingIn suffix: String) throws(DiffError) -> [String] {
        // A descriptor of its own: reading moves the position, and closing the stream closes it.
        let copy = Self.retrying { unsafe openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard copy >= 0 else { throw SystemError.error(path, "cannot be listed", errno) }
        guard let stream = unsafe fdopendir(copy) else {
            let number = errno
            _ = close(copy)
            throw SystemError.error(path, "cannot be listed", number)
        }
        defer { unsafe _ = closedir(stream) }
        var names: [String] = []
        for _ in Indices(below: Limits.directoryEntries) {
            errno = 0
            guard let entry = unsafe readdir(stream) else {
                let number = errno
                guard number == 0 else { throw SystemError.error(path, "cannot be listed", number) }
                break
            }
            // The record ends with the name: copying the whole `dirent` would read beyond it.
            let start = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 0
            let length = unsafe max(0, Int(entry.pointee.d_reclen) &- start)
            let name = unsafe String(
                untilNUL: UnsafeRawBufferPointer(start: UnsafeRawPointer(entry) + start, count: length))
            if name.hasSuffix(suffix) { names.append(name) }
        }
        return names.sorted(by: JSON.precedes)
    }

    /// What is known of `name`; nil only when there is no such entry.
    private func status(_ name: String, _ flags: Int32) throws(DiffError) -> stat? {
        try Self.check(component: name)
        var status = stat()
        let result = Self.retrying { unsafe fstatat(descriptor, name, &status, flags) }
        let number = errno
        if result == 0 { return status }
        guard number == ENOENT else { throw SystemError.error("\(path)/\(name)", "cannot be examined", number) }
        return nil
    }

    /// Whether `name` can only mean an entry of one directory, on any system.
    static func isComponent(_ name: String) -> Bool {
        let bytes = name.utf8
        guard !bytes.isEmpty, bytes.count <= Limits.fileNameBytes, name != ".", name != ".." else { return false }
        return Array(bytes).each.allSatisfy {
            $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\")
        }
    }

    static func check(component name: String) throws(DiffError) {
        guard isComponent(name) else {
            throw DiffError(.format, "\"\(name.prefix(100))\" is not the name of a file in the same directory")
        }
    }

    /// C would end the path at a NUL.
    static func check(path: String) throws(DiffError) {
        let bytes = path.utf8
        guard !bytes.isEmpty, bytes.count < Limits.pathBytes, !bytes.contains(0) else {
            throw DiffError(.invalidArgument, "\"\(path.prefix(100))\" is not a path (1 to 4095 bytes, no NUL)")
        }
    }

    /// Repeats a system call that a signal interrupted.
    static func retrying<R: SignedInteger>(_ call: () -> R) -> R {
        while true {
            let result = call()
            if result != -1 || errno != EINTR { return result }
        }
    }
}
