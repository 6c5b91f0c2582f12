import DiffAccel
import Glibc
import Synchronization

/// Ctrl-C: the first one asks the run to stop between two modules of the network, the second one ends the process.
enum Interruption {
    private static let isRequested = Atomic<Bool>(false)

    /// Takes over SIGINT for `session`.
    static func stops(_ session: Session) { session.followCancellation(source()) }

    /// Takes over SIGINT for `trainer`.
    static func stops(_ trainer: Trainer) { trainer.followCancellation(source()) }

    private static func source() -> CancelFlag.Source {
        // Touched here, so that the handler finds it made: a first access would take a lock.
        _ = isRequested.load(ordering: .relaxed)
        // One atomic store and one system call: both may happen in a signal handler.
        _ = signal(SIGINT) { _ in
            Interruption.isRequested.store(true, ordering: .relaxed)
            _ = signal(SIGINT, SIG_DFL)
        }
        return CancelFlag.Source(isSet: { isRequested.load(ordering: .relaxed) }, clear: {})
    }
}
