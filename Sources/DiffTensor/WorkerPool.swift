import CKernels

/// The threads of one session: started at the first parallel op, parked when idle, gone with the pool.
///
/// One run at a time uses a pool. After `fork()` the child's pool starts afresh on first use.
@safe
public final class WorkerPool: @unchecked Sendable {
    // Unchecked: the C pool synchronises itself.
    let pool: OpaquePointer
    /// What a dry pool tells.
    private let observer: Observer?
    /// Threads that take part in a parallel op, the caller included.
    public var threads: Int { Int(unsafe ck_pool_threads(pool)) }

    /// A pool of `threads` (1...256). Throws `invalidArgument` or `outOfMemory`.
    public init(threads: Int) throws(DiffError) {
        guard (1...256).contains(threads) else {
            throw DiffError(.invalidArgument, "threads must be 1...256, found \(threads)")
        }
        guard let pool = unsafe ck_pool_create(Int32(threads)) else {
            throw DiffError(.outOfMemory, "no memory for a pool of \(threads) threads")
        }
        unsafe self.pool = pool
        observer = nil
    }

    /// For measurements: a pool that claims so many threads and has none. Work is cut as for them and done by the caller; `observe` is told of
    /// each parallel op, how many tasks it was and how long all of them took, on the caller's thread. Throws `outOfMemory`.
    package init(dry threads: Int, observe: @escaping (_ tasks: Int, _ seconds: Double) -> Void) throws(DiffError) {
        let observer = Observer(observe)
        let pool = unsafe ck_pool_create_dry(
            Int32(clamping: threads),
            { (context, tasks, seconds) in
                guard let context = unsafe context else { return }
                unsafe Unmanaged<Observer>.fromOpaque(context).takeUnretainedValue().observe(Int(tasks), seconds)
            }, Unmanaged.passUnretained(observer).toOpaque())
        guard let pool = unsafe pool else { throw DiffError(.outOfMemory, "no memory for a dry pool") }
        unsafe self.pool = pool
        self.observer = observer
    }

    deinit { unsafe ck_pool_destroy(pool) }

    /// Calls `body` once with each of `0 ..< tasks`, shared among the threads, and returns when all calls have.
    public func run(_ tasks: Int, _ body: @Sendable (Int) -> Void) {
        withoutActuallyEscaping(body) { body in
            let task = Task(body)
            withExtendedLifetime(task) {
                unsafe ck_pool_run(
                    pool, Int64(tasks),
                    { (context, index, _) in
                        guard let context = unsafe context else { return }
                        unsafe Unmanaged<Task>.fromOpaque(context).takeUnretainedValue().body(Int(index))
                    }, Unmanaged.passUnretained(task).toOpaque())
            }
        }
    }

    private final class Observer {
        let observe: (Int, Double) -> Void
        init(_ observe: @escaping (Int, Double) -> Void) { self.observe = observe }
    }

    private final class Task: Sendable {
        let body: @Sendable (Int) -> Void
        init(_ body: @escaping @Sendable (Int) -> Void) { self.body = body }
    }
}
