import DiffAccel
import Glibc

/// A file of lines that grows: each line is written at once, so that others can follow it.
final class LineFile {
    private let path: String
    private let descriptor: Int32

    /// Opens `path` for appending; makes it when it is not there. Throws `io`.
    init(_ path: String) throws(DiffError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Self.error(path, errno) }
    }

    deinit { _ = close(descriptor) }

    /// Appends `line`. Throws `io`.
    func append(_ line: String) throws(DiffError) {
        let bytes = Array((line + "\n").utf8)
        var done = 0
        while done < bytes.count {
            let written = unsafe bytes.withUnsafeBytes { buffer in
                unsafe write(descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw Self.error(path, written < 0 ? errno : ENOSPC) }
            done += written
        }
    }

    private static func error(_ path: String, _ number: Int32) -> DiffError {
        DiffError(.io, "\(path): cannot be written: \(Folder.reason(number))")
    }
}
