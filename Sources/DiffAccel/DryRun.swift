import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor

/// A dry run of a sampling job: every shape, memory request and method decision of the real run, no arithmetic.
///
/// Estimates and previews are read off it; a session reserves its blocks before the first step, so that a run that cannot
/// fit its memory limit is refused before it starts and no step allocates.
struct DryRun {
    /// The dry run's blocks: what the real one will ask for.
    let workspace: Workspace
    let trace: Trace
    /// The most bytes that methods hold at once.
    let cacheBytes: Int
    /// Attention and MLP outputs of all calls.
    let sites: SiteCounts
    /// Which of the session's networks runs in each call.
    let networks: [Int]
    /// Floating-point operations of encoders before the first call.
    let encodingFlops: Double
    /// Bytes of results that are no latents.
    let resultBytes: Int
    /// How methods divide the work of a call.
    let components: [NetworkComponent]
    /// What decoding all samples takes, in the tiles that the request asks for.
    let decoding: DecodeForecast

    /// Dry-runs `job` under `plan` on `threads` threads, as one of `ranks` if there are any, with its convolutions noted in `census`. Throws
    /// whatever the real run would for reasons known in advance.
    init(
        _ job: any SamplingJob, _ plan: Plan, threads: Int, ranks: RankShare? = nil, census: ConvolutionCensus? = nil
    ) throws(DiffError) {
        let run = Run(dryOn: threads, stack: plan.makeStack(), census: census)
        var context = job.context
        context.ranks = ranks
        try run.begin(context)
        let layouts = context.layouts.indices.map { context.sites(of: $0, .attention, .mlp) }
        var (cache, counts, networks, encoding) = (0, SiteCounts(), [Int](), 0.0)
        let output = try job.perform(run) { (progress) throws(DiffError) in
            guard progress.stage != .encode else {
                // What encoders took is given back before the first step.
                run.workspace.trim()
                encoding = progress.flops
                return
            }
            cache = max(cache, Checked.sum(run.bytesHeld, progress.heldBytes))
            counts += run.trace.counts(layouts.at(progress.network) ?? [], call: progress.call)
            networks.append(progress.network)
        }
        decoding = try DecodeForecast(job, threads: threads, ranks: ranks, census: census)
        resultBytes = output.others.each.reduce(0) { Checked.sum($0, $1.byteCount) }
        (workspace, trace, cacheBytes) = (run.workspace, run.trace, cache)
        (sites, self.networks, encodingFlops) = (counts, networks, encoding)
        components = run.components
    }

    /// Floating-point operations of all calls (a multiply-add counts as 2).
    var flops: Double { trace.flops.each.reduce(0, +) }
}
