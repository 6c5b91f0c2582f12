import Synchronization

/// A request to stop, set from any thread and seen between two modules of the network.
public final class CancelFlag: Sendable {
    /// A second place where a stop can be asked for, such as a word that a signal handler writes.
    public struct Source: Sendable {
        let isSet: @Sendable () -> Bool
        let clear: @Sendable () -> Void

        /// A source that is asked between modules and cleared when a run starts.
        public init(isSet: @escaping @Sendable () -> Bool, clear: @escaping @Sendable () -> Void) {
            (self.isSet, self.clear) = (isSet, clear)
        }
    }

    private let flag = Atomic<Bool>(false)
    private let source = Mutex<Source?>(nil)

    /// A flag that is not set.
    public init() {}

    /// Also obeys `source` from now on.
    public func follow(_ source: Source) { self.source.withLock { $0 = source } }

    /// Asks the run to stop.
    public func cancel() { flag.store(true, ordering: .releasing) }

    /// Forgets earlier requests; done when a run starts.
    public func clear() {
        flag.store(false, ordering: .releasing)
        source.withLock { $0 }?.clear()
    }

    /// Whether a stop was asked for.
    public var isSet: Bool {
        flag.load(ordering: .acquiring) || (source.withLock { $0 }?.isSet() ?? false)
    }

    /// Throws `cancelled` when a stop was asked for.
    public func check() throws(DiffError) { if isSet { throw .cancelled } }
}
