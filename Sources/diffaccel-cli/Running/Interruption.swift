import DiffAccel
import Glibc
import Synchronization

/// Ctrl-C: the first one asks the run to stop between two modules of the network, the second one ends the process.
enum Interruption {
    private static let isRequested = Atomic<Bool>(false)

    /// Takes over SIGINT for `session`.
    static func stops(_ session: Session) {
        // Touched here, so that the handler finds it made: a first access would take a lock.
        _ = isRequested.load(ordering: .relaxed)
        session.followCancellation(
            CancelFlag.Source(isSet: { isRequested.load(ordering: .relaxed) }, clear: {}))
        // One atomic store and one system call: both may happen in a signal handler.
        _ = signal(SIGINT) { _ in
            Interruption.isRequested.store(true, ordering: .relaxed)
            _ = signal(SIGINT, SIG_DFL)
        }
    }
}
