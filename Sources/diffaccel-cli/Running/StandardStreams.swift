import DiffAccel
import Glibc
import Synchronization

/// Standard output, where results go. What cannot be written is an error of the program, not of whoever reads too little.
enum StandardOutput {
    /// The name of standard output where a file is asked for.
    static let name = "-"

    private struct State {
        var waiting: [UInt8] = []
        /// Error number of the first write that failed.
        var failure: Int32?
        /// Whether a result is put there: words then go to standard error.
        var isReserved = false
    }

    private static let limit = 1 << 16
    private static let state = Mutex(State())

    /// Sees to it that no file that is opened later takes the place of a stream that the caller closed, and that a reader who
    /// went away is an error that can be told.
    static func prepare() {
        for descriptor in STDIN_FILENO...STDERR_FILENO where fcntl(descriptor, F_GETFD) == -1 {
            // The wrong way round: reading or writing fails, as it does on a closed stream.
            unsafe _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// Keeps standard output for one result, when one of `paths` is `-`. Throws `invalidArgument` when there are several or when
    /// JSON is printed there.
    static func reserve(_ paths: [String?], besidesJSON isJSON: Bool) throws(DiffError) {
        let here = paths.count { $0 == name }
        guard here > 0 else { return }
        guard here == 1, !isJSON else {
            throw DiffError(.invalidArgument, "only one result can go to standard output: name files for the others")
        }
        state.withLock { $0.isReserved = true }
    }

    /// Writes a result's bytes. Throws `invalidArgument` for a terminal, which they would upset, and `io`.
    static func write(_ bytes: [UInt8], isText: Bool = false) throws(DiffError) {
        guard isText || isatty(STDOUT_FILENO) == 0 else {
            throw DiffError(
                .invalidArgument, "standard output is a terminal: send it to a file or a program, or name a file")
        }
        put(bytes)
        try finish()
    }

    /// Puts a line of text there. Swift's `print` does not tell when it fails: nothing here uses it.
    static func say(_ line: String) { put(line + "\n") }

    /// Puts text there; to standard error when a result is on standard output.
    static func put(_ text: String) {
        if state.withLock({ $0.isReserved }) { Terminal.write(text) } else { put(Array(text.utf8)) }
    }

    private static func put(_ bytes: [UInt8]) {
        let waiting = state.withLock { state in
            state.waiting += bytes
            return state.waiting.count
        }
        if waiting > limit || isatty(STDOUT_FILENO) == 1 { flush() }
    }

    /// Writes what waits; a failure is kept for ``finish()``.
    static func flush() {
        state.withLock { state in
            if state.failure == nil { state.failure = write(STDOUT_FILENO, state.waiting) }
            state.waiting = []
        }
    }

    /// Writes what waits. Throws `io` when any of the output could not be written.
    static func finish() throws(DiffError) {
        flush()
        guard let failure = state.withLock({ $0.failure }) else { return }
        throw DiffError(.io, "standard output cannot be written: \(Folder.reason(failure))")
    }

    /// Writes all of `bytes` to a descriptor; the error number when that fails.
    static func write(_ descriptor: Int32, _ bytes: [UInt8]) -> Int32? {
        unsafe bytes.withUnsafeBytes { bytes in
            var done = 0
            while done < bytes.count {
                let written = unsafe Glibc.write(
                    descriptor, bytes.baseAddress.map { unsafe $0 + done }, bytes.count - done)
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return written < 0 ? errno : ENOSPC }
                done += written
            }
            return nil
        }
    }
}

/// Standard input, from which one text or plan may come.
enum StandardInput {
    private static let limit = 64 << 20
    private static let isRead = Atomic<Bool>(false)

    /// All of it. Throws `io`, and `invalidArgument` when it was asked for before or is longer than 64 MiB.
    static func contents() throws(DiffError) -> [UInt8] {
        guard !isRead.exchange(true, ordering: .relaxed) else {
            throw DiffError(.invalidArgument, "standard input can be read once only")
        }
        var all: [UInt8] = []
        while let piece = try next() {
            all += piece
            guard all.count <= limit else {
                throw DiffError(.invalidArgument, "standard input is longer than \(limit) bytes")
            }
        }
        return all
    }

    /// All of it as text, without the line feed that ends it. Throws `format` for invalid UTF-8.
    static func text() throws(DiffError) -> String {
        guard var text = String(validating: try contents(), as: UTF8.self) else {
            throw DiffError(.format, "standard input is no valid UTF-8")
        }
        // A line end of two bytes is one character.
        if let last = text.last, last == "\n" || last == "\r\n" { text.removeLast() }
        return text
    }

    /// Each line in turn, without its line end. Throws `io`.
    static func eachLine(_ body: (String) throws(DiffError) -> Void) throws(DiffError) {
        var rest: [UInt8] = []
        while let piece = try next() {
            rest += piece
            var start = 0
            while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
                let hasReturn = end > start && rest[end - 1] == UInt8(ascii: "\r")
                try body(String(decoding: rest[start..<(hasReturn ? end - 1 : end)], as: UTF8.self))
                start = end + 1
            }
            rest.removeFirst(start)
        }
        if !rest.isEmpty { try body(String(decoding: rest, as: UTF8.self)) }
    }

    /// The next bytes; nil at the end.
    private static func next() throws(DiffError) -> [UInt8]? {
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        var count = -1
        repeat {
            count = unsafe piece.withUnsafeMutableBytes { unsafe read(STDIN_FILENO, $0.baseAddress, $0.count) }
        } while count < 0 && errno == EINTR
        guard count >= 0 else { throw DiffError(.io, "standard input cannot be read: \(Folder.reason(errno))") }
        return count == 0 ? nil : Array(piece.prefix(count))
    }
}
