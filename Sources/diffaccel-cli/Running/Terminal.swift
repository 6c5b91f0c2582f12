import DiffAccel
import Glibc

/// Standard error, where messages and progress go, so that standard output holds results only.
enum Terminal {
    /// Whether standard error is a terminal.
    static var isWatched: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes a line to standard error.
    static func say(_ line: String) { write(line + "\n") }

    /// Writes `text` to standard error as it is. A failure cannot be reported anywhere.
    static func write(_ text: String) {
        _ = StandardOutput.write(STDERR_FILENO, Array(text.utf8))
    }
}
