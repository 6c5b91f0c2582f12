/// The one error of the library: what kind of failure, and a sentence that names the place.
///
/// `message` says which tensor, file, option or site is concerned and what was expected and found; it is at most
/// ``maxMessageBytes`` long and safe to print (control characters from outside are escaped).
public struct DiffError: Error, Sendable, Equatable {
    /// The kinds of failure; the raw values are the C library's status numbers and never change.
    public enum Code: Int32, Sendable, CaseIterable {
        case cancelled = 1
        case invalidArgument = -1
        case io = -2
        case format = -3
        case unsupported = -4
        case shape = -5
        case outOfMemory = -6
        case overBudget = -7
        case invalidHandle = -8
        case busy = -9
        case incompatible = -10
        case notFinite = -11
        case `internal` = -12

        /// The name of the status in the C library, such as `DA_IO`.
        public var name: String { unsafe String(cString: cName) }

        /// The same as C reads it; valid forever.
        public var cName: UnsafePointer<CChar> {
            switch self {
            case .cancelled: unsafe Self.address("DA_CANCELLED")
            case .invalidArgument: unsafe Self.address("DA_INVALID_ARGUMENT")
            case .io: unsafe Self.address("DA_IO")
            case .format: unsafe Self.address("DA_FORMAT")
            case .unsupported: unsafe Self.address("DA_UNSUPPORTED")
            case .shape: unsafe Self.address("DA_SHAPE")
            case .outOfMemory: unsafe Self.address("DA_NO_MEMORY")
            case .overBudget: unsafe Self.address("DA_OVER_BUDGET")
            case .invalidHandle: unsafe Self.address("DA_INVALID_HANDLE")
            case .busy: unsafe Self.address("DA_BUSY")
            case .incompatible: unsafe Self.address("DA_INCOMPATIBLE")
            case .notFinite: unsafe Self.address("DA_NOT_FINITE")
            case .internal: unsafe Self.address("DA_INTERNAL")
            }
        }

        @inline(__always)
        private static func address(_ text: StaticString) -> UnsafePointer<CChar> {
            unsafe UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
        }
    }

    /// The kind of failure.
    public let code: Code
    /// What happened, where, what was expected and found.
    public let message: String

    /// Longer texts are cut: an outside value must not be able to make the library hold an endless string.
    public static let maxMessageBytes = 2048

    /// An error of kind `code` whose text is `message`, escaped and cut to ``maxMessageBytes``.
    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = Self.printable(message)
    }

    /// The run was stopped by its caller.
    public static let cancelled = DiffError(.cancelled, "cancelled by the caller")

    /// The same error with "`place`: " in front of its text.
    public func at(_ place: String) -> DiffError { DiffError(code, "\(place): \(message)") }

    private static func printable(_ text: String) -> String {
        var out = ""
        var bytes = 0
        for scalar in text.unicodeScalars {
            let control = scalar.value < 0x20 || (scalar.value >= 0x7f && scalar.value < 0xa0)
            let piece = control && scalar != "\n" ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
            bytes &+= piece.utf8.count
            if bytes > maxMessageBytes - 3 { return out + "..." }
            out += piece
        }
        return out
    }
}

/// Runs `body` and puts "`place`: " in front of the text of an error it throws.
public func locating<T>(_ place: @autoclosure () -> String, _ body: () throws(DiffError) -> T) throws(DiffError) -> T {
    do throws(DiffError) { return try body() } catch { throw error.at(place()) }
}
