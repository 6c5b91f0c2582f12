import DiffAccel

/// A line on standard error that shows how far a run is; silent when it is not a terminal.
final class ProgressBar {
    private static let width = 30

    private let isShown: Bool
    private var lastDrawn = 0.0
    /// The task at hand: its name, when it began, and the units that were done by then.
    private var task = "", began = 0.0, doneBefore = 0

    /// A bar that appears if `isWanted` and standard error is a terminal.
    init(isWanted: Bool) { isShown = isWanted && Terminal.isWatched }

    deinit { clear() }

    /// Shows `done` of `total` units of `task`, with a `note` after them; at most ten times a second.
    func show(_ done: Int, of total: Int, _ task: String, note: String = "") {
        let now = Machine.seconds
        if task != self.task { (self.task, began, doneBefore) = (task, now, done) }
        guard isShown, total > 0, now - lastDrawn > 0.1 || done == total else { return }
        lastDrawn = now
        let filled = Self.width * min(done, total) / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: Self.width - filled)
        var rest = ""
        if done > doneBefore, done < total {
            let left = (now - began) / Double(done - doneBefore) * Double(total - done)
            rest = ", \(Format.duration(left)) left"
        }
        if !note.isEmpty { rest += ", \(note)" }
        Terminal.write("\r\u{1b}[K\(task) \(bar) \(done)/\(total)\(rest)")
    }

    /// Removes the line.
    func clear() {
        if isShown, lastDrawn > 0 { Terminal.write("\r\u{1b}[K") }
        lastDrawn = 0
    }
}
