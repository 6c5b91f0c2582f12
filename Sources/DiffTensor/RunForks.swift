import Synchronization

/// Runs that work side by side on parts of one run's threads: several evaluations of a network at once.
///
/// Each fork has a workspace of its own, charged to the same budget; hooks are shared, and so are cancellation and failure: what
/// stops one stops all. Results do not depend on which fork is done first. Used by the thread of the run they come from.
public final class RunForks {
    private let parent: Run
    private let runs: [Run]
    /// The threads that lead the forks; nil in a dry run or where there is one thread: they then run one after the other.
    private let leaders: WorkerPool?
    private let stop: Stop

    /// Whether a fork failed, for the others to see.
    private final class Stop: Sendable {
        let isSet = Atomic<Bool>(false)
    }

    /// What the forks' threads share: each touches the run and the outcome of its own number only.
    @safe private struct Work: @unchecked Sendable {
        // Unchecked: see above.
        let runs: [Run]
        let outcomes: UnsafeMutableBufferPointer<DiffError?>
    }

    init(_ parent: Run, _ count: Int) throws(DiffError) {
        let count = max(1, count)
        let stop = Stop()
        (self.parent, self.stop) = (parent, stop)
        var runs: [Run] = []
        for index in Indices(below: count) {
            // The first forks get what does not divide evenly.
            let threads = max(1, parent.threads / count &+ (index < parent.threads % count ? 1 : 0))
            let pool = parent.isDry || parent.pool == nil ? nil : try WorkerPool(threads: threads)
            let flag = CancelFlag()
            let outer = parent.cancel
            flag.follow(
                CancelFlag.Source(
                    isSet: { outer.isSet || stop.isSet.load(ordering: .acquiring) }, clear: {}))
            runs.append(
                Run(
                    forking: parent, pool: pool, threads: threads, workspace: parent.workspace.branch(index),
                    cancel: flag))
        }
        self.runs = runs
        leaders =
            parent.isDry || parent.threads < 2 || count < 2 || parent.pool == nil
            ? nil : try WorkerPool(threads: min(count, parent.threads))
    }

    /// Number of forks.
    public var count: Int { runs.count }

    /// Calls `body` once for each fork, side by side, with its number and its run, and returns when all calls have.
    ///
    /// When one throws, the others stop at their next site. Throws the error of the lowest number; `cancelled` when there is no other.
    public func perform(_ body: @Sendable (Int, Run) throws(DiffError) -> Void) throws(DiffError) {
        stop.isSet.store(false, ordering: .releasing)
        var outcomes = [DiffError?](repeating: nil, count: runs.count)
        unsafe outcomes.withUnsafeMutableBufferPointer { outcomes in
            let work = unsafe Work(runs: runs, outcomes: outcomes)
            let stop = stop
            @Sendable func one(_ index: Int) {
                guard let run = work.runs.at(index) else { return }
                do throws(DiffError) {
                    try body(index, run)
                } catch {
                    unsafe work.outcomes[index] = error
                    stop.isSet.store(true, ordering: .releasing)
                }
            }
            if let leaders {
                leaders.run(runs.count, one)
            } else {
                for index in Indices(below: runs.count) { one(index) }
            }
        }
        // In the order of their numbers, so that sums of operations have the same bits whoever was done first.
        for run in runs.each { parent.merge(run) }
        var failure: DiffError?
        for outcome in outcomes.each {
            guard let outcome else { continue }
            if failure == nil || failure?.code == .cancelled && outcome.code != .cancelled { failure = outcome }
        }
        if let failure { throw failure }
    }

    /// The network call `call` in as many lanes as there are forks, each on the fork of its number, side by side: `network` evaluates the
    /// lane that its call names. Gives the outputs by lane, in blocks of the forks' workspaces. Throws what ``perform(_:)`` throws.
    public func evaluate(_ call: Call, _ network: @escaping Evaluate) throws(DiffError) -> [Tensor] {
        parent.open(call)
        let outputs = Mutex([Tensor?](repeating: nil, count: runs.count))
        try perform { (lane, run) throws(DiffError) in
            let output = try run.evaluate(call.inLane(lane), network)
            outputs.withLock { $0.put(output, at: lane) }
        }
        return outputs.withLock { $0.each.compactMap { $0 } }
    }
}

extension Run {
    /// `count` runs on parts of this run's threads, each with a workspace of its own; hooks, budget and cancellation are shared.
    ///
    /// To be made once a run (a method does so when it begins) and used for every call. Throws `outOfMemory`.
    public func fork(_ count: Int) throws(DiffError) -> RunForks { try RunForks(self, count) }
}
