#if CANARY
import Glibc

/// Faults planted on purpose, to see that the tests against hostile input would find such faults (Tests/Canary).
///
/// Only in a library built for that: the package's manifest defines `CANARY` when the environment asks for it. Each of them is
/// off until the environment of the process names it, so that every one can be looked for alone.
public enum Canary: String, Sendable {
    case reader, plan, session, step, boundary

    /// Whether this fault is switched on in this process.
    public var isArmed: Bool {
        guard let name = unsafe getenv("DIFFACCEL_CANARY_ARMED") else { return false }
        return unsafe String(cString: name) == rawValue
    }
}
#endif
