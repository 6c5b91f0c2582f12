import DiffAccel

/// A line on standard error that shows how far a run is; silent when nobody watches.
final class ProgressBar {
    private static let width = 30

    private let isShown: Bool
    private let began = Machine.seconds
    private var lastDrawn = 0.0

    /// A bar that appears if `isWanted` and standard error is a terminal.
    init(isWanted: Bool) { isShown = isWanted && Terminal.isWatched }

    deinit { clear() }

    /// Shows `done` of `total` units of `task`; at most ten times a second.
    func show(_ done: Int, of total: Int, _ task: String) {
        let now = Machine.seconds
        guard isShown, total > 0, now - lastDrawn > 0.1 || done == total else { return }
        lastDrawn = now
        let filled = Self.width * done / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: Self.width - filled)
        let left = done > 0 ? (now - began) / Double(done) * Double(total - done) : 0
        let rest = done > 0 && done < total ? ", \(Format.fixed(left, 0)) s left" : ""
        Terminal.write("\r\u{1b}[K\(task) \(bar) \(done)/\(total), \(Format.fixed(now - began, 1)) s\(rest)")
    }

    /// Removes the line.
    func clear() {
        if isShown, lastDrawn > 0 { Terminal.write("\r\u{1b}[K") }
        lastDrawn = 0
    }
}
