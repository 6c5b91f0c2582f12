import DiffSampling
public import DiffTensor
import Synchronization

/// How a session runs.
public struct SessionOptions: Sendable {
    /// Threads of the session's own pool; 0: one per processor that may be used (affinity, quotas of control groups).
    public var threads = 0
    /// Bytes for states, caches and workspace (weights excluded); 0: no limit.
    public var memoryLimit = 0
    /// The second model of a plan that needs one, already open; nil: the plan says where it is.
    public var partner: Model?
    /// The processes that share the work of a plan or a request that asks for some; nil: those that the program was started with, see
    /// ``DiffTensor/Ranks/join(plugin:cancel:)``.
    public var ranks: RankGroup?
    /// Seconds without a sign of life after which such a process counts as gone.
    public var rankTimeout = Ranks.timeout

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
    private let sampling: any FamilySampling
    private let options: SessionOptions
    private let cancelFlag = CancelFlag()
    private let busy = Atomic<Bool>(false)
    private let budget: MemoryBudget
    private let run: Run
    /// The dry run of the last request: one of the same shape needs no other.
    private var lastDryRun: (shape: RequestShape, dryRun: DryRun)?

    /// A session of `model` under `plan`. Throws `incompatible` when they do not fit, `unsupported` when the family cannot
    /// sample, `invalidArgument`, `outOfMemory`.
    public convenience init(
        _ model: Model, _ plan: Plan = Plan(), _ options: SessionOptions = SessionOptions()
    ) throws(DiffError) {
        try self.init(model, plan, options, pool: nil)
    }

    /// The same, with a pool of the caller's instead of one of ``SessionOptions/threads``.
    init(_ model: Model, _ plan: Plan, _ options: SessionOptions, pool: WorkerPool?) throws(DiffError) {
        guard let family = model.family.sampling else {
            throw DiffError(.unsupported, "\(model.familyName) models cannot sample by themselves; use forward")
        }
        guard options.memoryLimit >= 0 else {
            throw DiffError(.invalidArgument, "a memory limit must not be negative, found \(options.memoryLimit)")
        }
        try plan.checkStacking()
        let plan = try plan.divided(as: model.share)
        sampling = try family.under(plan, options)
        try plan.check(sampling.layouts)
        let pool =
            if let pool { pool } else {
                try WorkerPool(threads: options.threads == 0 ? Machine.processors : options.threads)
            }
        threads = pool.threads
        budget = try MemoryBudget(limit: options.memoryLimit)
        run = Run(
            pool: pool, budget: budget, stack: plan.makeStack(), cancel: cancelFlag, precision: model.precision)
        (self.model, self.plan, self.options) = (model, plan, options)
    }

    /// Stops the current run, if any; may be called from any thread.
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
            cancelFlag.clear()
            guard SessionRanks.areNeeded(plan, request) else {
                return try sample(sampling.job(request), request, nil, observe)
            }
            let ranks = try SessionRanks(model, plan, request, options, cancelFlag)
            return try ranks.perform { (share) throws(DiffError) in
                // Rank 0 has the result; what the others would show on the way nobody looks at.
                let asked = share.rank == 0 ? request : request.withoutPreviews
                return try sample(sampling.job(asked), asked, share, observe)
            }
        }
    }

    /// One run of `job`, which `request` means; `share` is the part of this process in it.
    private func sample(
        _ job: any SamplingJob, _ request: SampleRequest, _ share: RankShare?,
        _ observe: (SampleEvent) -> SampleDecision
    ) throws(DiffError) -> SampleResult {
        for advice in plan.advice(job.context).each { Log.write(.warning, advice) }
        let tile = try decodeTile(job, share)
        let dryRun = try dryRun(job, RequestShape(request), share)
        budget.resetPeak()
        defer { tidy() }
        return try SampleLoop(
            job: job, run: run, budget: budget, dryRun: dryRun, weightBytes: weightBytes, ranks: share
        ).perform(tile: tile, observe)
    }

    /// Whether a sample of `request` has the same bits in whatever batch it is made: nothing is drawn on the way, and no step is chosen by
    /// looking at all samples. Throws as ``sample(_:observe:)`` does for a bad request.
    public func isBatchInvariant(_ request: SampleRequest) throws(DiffError) -> Bool {
        let job = try sampling.job(request)
        guard case .exactly = job.context.calls, let noise = job.noise else { return false }
        return noise.draws == 0
    }

    /// What `request` would need, by a dry run of it. Throws as ``sample(_:observe:)`` does for a bad request.
    public func estimate(_ request: SampleRequest) throws(DiffError) -> Estimate {
        try Estimate(sampling.job(request), plan, threads: threads, weights: weightBytes)
    }

    /// The dry run of `job`: the last one when it had the same shape.
    private func dryRun(
        _ job: any SamplingJob, _ shape: RequestShape, _ share: RankShare?
    ) throws(DiffError) -> DryRun {
        if let lastDryRun, lastDryRun.shape == shape { return lastDryRun.dryRun }
        let made = try DryRun(job, plan, threads: threads, ranks: share)
        lastDryRun = (shape, made)
        return made
    }

    private var weightBytes: Int { Checked.sum(model.bytes, sampling.partnerBytes) }

    /// Bytes of blocks and caches held for the next run.
    public var bytesHeld: Int { budget.used }

    private func exclusively<T>(_ body: () throws(DiffError) -> T) throws(DiffError) -> T {
        guard busy.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else {
            throw DiffError(.busy, "the session is sampling already")
        }
        defer { busy.store(false, ordering: .releasing) }
        return try body()
    }

    /// After every run, also a failed one: drops caches and unused blocks.
    private func tidy() {
        run.end()
        run.workspace.trim()
    }

    /// The side of the decoder's tiles: what the request says, or the largest that the memory limit allows.
    @inline(never)
    private func decodeTile(_ job: any SamplingJob, _ share: RankShare?) throws(DiffError) -> Int? {
        guard let decoder = job.decoder(on: share), decoder.takesTiles, let latents = job.latents else { return nil }
        switch job.tiling {
        case .never: return nil
        case .side(let side): return side < max(latents[2], latents[3]) ? side : nil
        case .automatic:
            var tile: Int?
            if budget.limit > 0 {
                tile = try DecodeForecast.tile(
                    decoder, latents, threads: threads, ranks: share, within: budget.limit)
            }
            // Ranks that share the tiles need the same ones, of which the smallest fit on all.
            if let share, decoder.isShared {
                let least = try share.least(tile ?? .max)
                tile = least == .max ? nil : least
            }
            if let tile { Log.write(.warning, "decoding in tiles of \(tile) latents to stay within the memory limit") }
            return tile
        }
    }
}
