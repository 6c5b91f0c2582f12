import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor

/// A dry run of a sampling job: every shape, memory request and method decision of the real run, no arithmetic.
///
/// Estimates and previews are read off it; a session reserves its blocks before the first step, so that a run that cannot
/// fit its memory limit is refused before it starts and no step allocates.
struct Rehearsal {
    /// The dry run's blocks: what the real one will ask for.
    let workspace: Workspace
    let trace: Trace
    /// The most bytes that methods hold at once.
    let cacheBytes: Int

    /// Rehearses `job` under `plan` on `threads` threads. Throws whatever the real run would for reasons known in advance.
    init(_ sampling: ImageSampling, _ job: ImageSampling.Job, _ plan: Plan, threads: Int) throws(DiffError) {
        let run = Run(dryOn: threads, stack: plan.makeStack())
        try run.begin(sampling.opening(job))
        var cache = 0
        _ = try sampling.sample(job, run) { (_) throws(DiffError) in cache = max(cache, run.bytesHeld) }
        (workspace, trace, cacheBytes) = (run.workspace, run.trace, cache)
    }

    /// Floating-point operations of all calls (a multiply-add counts as 2).
    var flops: Double { trace.flops.each.reduce(0, +) }

    /// Outcomes of all calls at `sites`.
    func counts(_ sites: [Site]) -> SiteCounts {
        Indices(below: trace.calls).reduce(into: SiteCounts()) { $0 += trace.counts(sites, call: $1) }
    }
}
