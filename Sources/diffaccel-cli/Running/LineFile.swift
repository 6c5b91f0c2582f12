import DiffAccel
import Glibc

/// A file of lines that grows: each line is written at once, so that others can follow it.
final class LineFile {
    private let path: String
    private let descriptor: Int32

    /// Opens `path` for appending; makes it when it is not there; `-` is standard output. Throws `io`.
    init(_ path: String) throws(DiffError) {
        self.path = path
        guard path != StandardOutput.name else {
            descriptor = dup(STDOUT_FILENO)
            if descriptor < 0 { throw Self.error("standard output", errno) }
            return
        }
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Self.error(path, errno) }
    }

    deinit { _ = close(descriptor) }

    /// Appends `line`. Throws `io`.
    func append(_ line: String) throws(DiffError) {
        if let failure = StandardOutput.write(descriptor, Array((line + "\n").utf8)) { throw Self.error(path, failure) }
    }

    private static func error(_ path: String, _ number: Int32) -> DiffError {
        DiffError(.io, "\(path): cannot be written: \(Folder.reason(number))")
    }
}
