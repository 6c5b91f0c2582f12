import Synchronization

/// Where the library's messages go: nowhere, unless the host asks for them.
public enum Log {
    /// How much a message matters.
    public enum Level: Int32, Sendable, Comparable, CaseIterable {
        case error = 1
        case warning = 2
        case info = 3

        /// Orders levels by urgency: errors first.
        public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    }

    /// Receives one line; called on the thread on which the message arises, with no lock held.
    public typealias Sink = @Sendable (Level, String) -> Void

    private struct Target: Sendable {
        var sink: Sink?
        var level: Level = .error
    }

    private static let target = Mutex(Target())

    /// Sends messages up to `level` to `sink`; nil turns the log off.
    public static func set(_ level: Level, _ sink: Sink?) {
        target.withLock { $0 = Target(sink: sink, level: level) }
    }

    static func write(_ level: Level, _ message: @autoclosure () -> String) {
        let now = target.withLock { $0 }
        guard let sink = now.sink, level <= now.level else { return }
        sink(level, message())
    }
}
