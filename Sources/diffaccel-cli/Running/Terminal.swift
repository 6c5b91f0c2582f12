import Glibc

/// Standard error, where messages and progress go, so that standard output holds results only.
enum Terminal {
    /// Whether somebody watches standard error.
    static var isWatched: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a line to standard error.
    static func say(_ line: String) { write(line + "\n") }

    /// Writes a line to standard output at once, for programs that read along.
    static func put(_ line: String) {
        print(line)
        _ = fflush(nil)
    }

    /// Writes `text` to standard error as it is.
    static func write(_ text: String) {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let written = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(STDERR_FILENO, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done)
            }
            guard written > 0 else { return }
            done += written
        }
    }
}
