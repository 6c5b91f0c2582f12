import CKernels

/// The threads of one session: started at the first parallel op, parked when idle, gone with the pool.
///
/// One run at a time uses a pool. After `fork()` the child's pool starts afresh on first use.
@safe
public final class WorkerPool: @unchecked Sendable {
    // Unchecked: the C pool synchronises itself.
    let pool: OpaquePointer
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

    private final class Task: Sendable {
        let body: @Sendable (Int) -> Void
        init(_ body: @escaping @Sendable (Int) -> Void) { self.body = body }
    }
}
