import DiffTensor
import Glibc

// What tests of ranks start by mpirun: `rank-exercise EXERCISE [RANK]`. Every rank prints a line, what it did or what it was told.

do throws(DiffError) {
    let began = Machine.seconds
    let group = try Ranks.join()
    let joined = Machine.seconds
    let word = try perform(group)
    say("rank \(group.rank) of \(group.count) \(word)")
    // Launchers may end the others as soon as one has ended without their consent, and all are to see what is the matter.
    if Exercise.name == "kill" || Exercise.name == "stop" { sleep(1) }
    if Exercise.name == "stop", group.rank == (Exercise.culprit == 0 ? 1 : 0) {
        kill(pid_t(group.members[Exercise.culprit].process), SIGKILL)
    }
    if getenv("RANKS_TIMES") != nil { say("joined in \(joined - began) s, worked \(Machine.seconds - joined) s") }
} catch {
    say("error: \(error.code): \(error.message)")
    exit(3)
}
