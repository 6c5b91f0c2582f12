import DiffAccel
import Glibc

/// Folders for outputs.
enum Folder {
    /// Makes the folder `path` and those above it, unless they are there. Throws `io`.
    static func make(_ path: String) throws(DiffError) {
        var folder = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            folder += folder.isEmpty || folder.hasSuffix("/") ? String(part) : "/\(part)"
            let made = unsafe mkdir(folder, 0o777)
            let number = errno
            guard made == 0 || number == EEXIST || number == EISDIR else {
                throw DiffError(.io, "\(folder): the folder cannot be made: \(reason(number))")
            }
        }
    }

    /// Throws `io` unless a file could be written to `path`.
    static func check(_ path: String) throws(DiffError) {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        guard unsafe access(folder, W_OK | X_OK) != 0 else { return }
        throw DiffError(.io, "\(path): the folder \(folder) cannot be written to: \(reason(errno))")
    }

    /// Whether both paths lead to the same file or folder.
    static func isSame(_ a: String, _ b: String) -> Bool {
        var (first, second) = (stat(), stat())
        guard unsafe stat(a, &first) == 0, unsafe stat(b, &second) == 0 else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    /// What the system says about error `number`.
    static func reason(_ number: Int32) -> String {
        unsafe strerror(number).flatMap { unsafe String(validatingCString: $0) } ?? "error \(number)"
    }
}
