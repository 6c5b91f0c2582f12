import DiffTensor
import Glibc

/// What the command line asks for.
enum Exercise {
    static let name = CommandLine.arguments.dropFirst().first ?? ""
    /// The rank that does something else than the others.
    static let culprit = CommandLine.arguments.count > 2 ? Int(CommandLine.arguments[2]) ?? 0 : 0
}

/// Prints a line in one write, so that those of several ranks do not mix.
func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = line.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    // Launchers lose lines of survivors of a rank that was killed.
    guard let path = getenv("RANKS_LOG") else { return }
    let log = open(path, O_WRONLY | O_APPEND | O_CREAT, 0o600)
    _ = line.withUnsafeBytes { write(log, $0.baseAddress, $0.count) }
    close(log)
}

/// Does the exercise; returns the word for its good end.
func perform(_ group: RankGroup) throws(DiffError) -> String {
    let isCulprit = group.rank == Exercise.culprit
    switch Exercise.name {
    case "messages": return try Messages(group).perform()
    case "order": return try Messages(group).inOrder()
    case "overlap": return try Messages(group).overlap()
    case "network": return try Network(group, Array(CommandLine.arguments.dropFirst(2))).perform()
    case "kill", "stop", "exit":
        return try failing(group, RankRunOptions(timeout: 3)) { (run) throws(DiffError) in
            if isCulprit {
                usleep(200_000)
                if Exercise.name == "exit" { exit(0) }
                kill(getpid(), Exercise.name == "kill" ? SIGKILL : SIGSTOP)
            }
            try waitFor(Exercise.culprit, run)
        }
    case "cancel":
        let flag = CancelFlag()
        return try failing(group, RankRunOptions(cancel: flag)) { (run) throws(DiffError) in
            if isCulprit { flag.cancel() }
            try waitFor((group.rank + 1) % group.count, run)
        }
    case "fail":
        return try failing(group, RankRunOptions()) { (run) throws(DiffError) in
            // What is under way has to be taken in by someone, however large it is.
            _ = try run.send(
                Messages.numbers(1, 2_000_000), to: (group.rank + 1) % group.count, tag: 1, Messages.local())
            if isCulprit { throw DiffError(.notFinite, "the state is not finite") }
            try waitFor(Exercise.culprit, run)
        }
    case "decline":
        guard isCulprit else { return try failing(group, RankRunOptions()) { (_) throws(DiffError) in } }
        group.decline(DiffError(.io, "no such model"))
        try Messages(group).ring()
        return "ok"
    case "facts":
        try group.begin(RankRunOptions(facts: [("checkpoint", isCulprit && group.rank > 0 ? "b" : "a")])).end()
        return "ok"
    case "leave":
        // The others still wait for a run when this one ends in order.
        if isCulprit { exit(0) }
        try group.begin(RankRunOptions()).end()
        return "ok"
    default: throw DiffError(.invalidArgument, "no exercise \"\(Exercise.name)\"")
    }
}

/// Waits for what `rank` never sends.
func waitFor(_ rank: Int, _ run: RankRun) throws(DiffError) {
    let from = rank == run.rank ? (rank + 1) % run.count : rank
    try run.wait(run.receive(into: Messages.room(1000), from: from, tag: 99, Messages.local()))
}

/// Does `body` in a run and ends it with the error; a second run shows whether the ranks still work together.
func failing(
    _ group: RankGroup, _ options: RankRunOptions, _ body: (RankRun) throws(DiffError) -> Void
) throws(DiffError) -> String {
    var told: DiffError
    do throws(DiffError) {
        let run = try group.begin(options)
        do throws(DiffError) {
            try body(run)
            try run.end()
            return "ok"
        } catch {
            told = run.failed(error)
        }
    } catch {
        told = error
    }
    do throws(DiffError) {
        try Messages(group).ring()
        return "told: \(told.code): \(told.message); the next run: ok"
    } catch {
        return "told: \(told.code): \(told.message); the next run: \(error.message)"
    }
}
