import DiffSampling
public import DiffTensor
import Synchronization

/// How a session runs.
public struct SessionOptions: Sendable {
    /// Threads of the session's own pool; 0: one per processor.
    public var threads = 0
    /// Bytes for states, caches and workspace (weights excluded); 0: no limit.
    public var memoryLimit = 0

    /// The defaults.
    public init() {}
}

/// Everything that a run changes: threads, memory, caches. One run at a time; the model may be shared.
public final class Session: @unchecked Sendable {
    // Unchecked: the mutable part (run and methods) is only touched between `busy` being taken and released.
    /// The model; shared, never changed.
    public let model: Model
    /// The plan that acts on it.
    public let plan: Plan
    /// Threads of the pool.
    public let threads: Int
    private let cancelFlag = CancelFlag()
    private let busy = Atomic<Bool>(false)
    private let budget: MemoryBudget
    private let run: Run

    /// A session of `model` under `plan`. Throws `incompatible` when they do not fit, `unsupported` when the family cannot
    /// sample, `invalidArgument`, `outOfMemory`.
    public init(_ model: Model, _ plan: Plan = Plan(), _ options: SessionOptions = SessionOptions()) throws(DiffError) {
        guard model.family.imageSampling != nil else {
            throw DiffError(.unsupported, "\(model.familyName) models cannot sample by themselves; use forward")
        }
        guard options.memoryLimit >= 0 else {
            throw DiffError(.invalidArgument, "a memory limit must not be negative, found \(options.memoryLimit)")
        }
        try plan.check(model.family.layouts)
        threads = options.threads == 0 ? Machine.processors : options.threads
        budget = try MemoryBudget(limit: options.memoryLimit)
        run = Run(pool: try WorkerPool(threads: threads), budget: budget, stack: plan.makeStack(), cancel: cancelFlag)
        (self.model, self.plan) = (model, plan)
    }

    /// Stops the run that is going on, if any; from any thread.
    public func cancel() { cancelFlag.cancel() }

    /// Lets a second source of stop requests act on this session: what the C library's handles need.
    public func followCancellation(_ source: CancelFlag.Source) { cancelFlag.follow(source) }

    /// Samples. Blocks until done; the session can be used again whatever happens.
    ///
    /// Throws `invalidArgument`, `shape`, `incompatible`, `unsupported`, `overBudget`, `outOfMemory`, `notFinite`, `busy`, and
    /// `cancelled` when stopped by ``cancel()`` or by `observe`, which is called after each step on this thread.
    public func sample(
        _ request: SampleRequest, observe: (SampleEvent) -> SampleDecision = { _ in .continue }
    ) throws(DiffError) -> SampleResult {
        try exclusively { () throws(DiffError) in
            guard let sampling = model.family.imageSampling else {
                throw DiffError(.internal, "a session without sampler")
            }
            let job = try sampling.job(request)
            cancelFlag.clear()
            let full = try decodeTile(sampling, job, request)
            budget.resetPeak()
            defer { tidy() }
            return try SampleLoop(sampling: sampling, job: job, run: run, budget: budget, model: model, plan: plan)
                .perform(
                    decode: request.decode, tile: full, observe)
        }
    }

    /// The shape of a request's state [n, C, S, S] and its number of steps: what its noise must have. Throws as
    /// ``sample(_:observe:)`` does for a bad request.
    public func noiseShape(_ request: SampleRequest) throws(DiffError) -> (state: Shape, steps: Int) {
        guard let sampling = model.family.imageSampling else { throw DiffError(.internal, "a session without sampler") }
        var bare = request
        (bare.noise, bare.stepNoise) = (nil, nil)
        let job = try sampling.job(bare)
        return (job.shape, job.sampler.calls)
    }

    /// What `request` would need, by a dry run of it. Throws as ``sample(_:observe:)`` does for a bad request.
    public func estimate(_ request: SampleRequest) throws(DiffError) -> Estimate {
        guard let sampling = model.family.imageSampling else { throw DiffError(.internal, "a session without sampler") }
        return try Estimate(sampling, sampling.job(request), request, plan, threads: threads, weights: model.bytes)
    }

    /// Bytes of blocks and caches held for the next run.
    public var bytesHeld: Int { budget.used }

    private func exclusively<T>(_ body: () throws(DiffError) -> T) throws(DiffError) -> T {
        guard busy.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else {
            throw DiffError(.busy, "the session is sampling already")
        }
        defer { busy.store(false, ordering: .releasing) }
        return try body()
    }

    /// After every run, also a failed one: caches go, and so do blocks that nobody uses.
    private func tidy() {
        run.end()
        run.workspace.trim()
    }

    /// The side of the decoder's tiles: what the request says, or the largest that the memory limit allows.
    @inline(never)
    private func decodeTile(
        _ sampling: ImageSampling, _ job: ImageSampling.Job, _ request: SampleRequest
    ) throws(DiffError) -> Int? {
        if let side = request.tileSide, !(8...4096).contains(side) {
            throw DiffError(.invalidArgument, "a decoder tile must be 8...4096 latents, found \(side)")
        }
        guard request.decode, case .latents = sampling.decoder else { return nil }
        switch request.tiling {
        case .never: return nil
        case .side(let side):
            return side < max(job.shape[2], job.shape[3]) ? side : nil
        case .automatic:
            guard budget.limit > 0 else { return nil }
            let tile = try Estimate.tile(sampling, job, threads: threads, within: budget.limit)
            if let tile { Log.write(.warning, "decoding in tiles of \(tile) latents to stay within the memory limit") }
            return tile
        }
    }
}
