import DiffAcceleration
public import DiffCheckpoint
import DiffModels
import DiffSampling
public import DiffTensor

/// The memory and arithmetic of a request, learned from a dry run of it.
public struct Estimate: Sendable, Equatable {
    /// Bytes: weights in memory, outputs kept by methods, the denoising workspace, and the decoder's.
    public let weights: Int, cache: Int, workspace: Int, decode: Int
    /// The session's peak, results included and weights excluded: what its memory limit must allow.
    public let peak: Int
    /// Network calls, of all networks together.
    public let calls: Int
    /// Whether the run may end sooner: the sampler decides while running, so that calls, operations and sites are upper bounds.
    public let isUpperBound: Bool
    /// Floating-point operations of all network calls, and of the same request without plan.
    public let flops: Double, baselineFlops: Double
    /// Attention and MLP outputs of all steps.
    public let sites: SiteCounts
    /// How many convolutions of all networks are computed in each form at the request's sizes.
    public let convolutions: [ConvolutionForm: Int]

    init(
        _ job: any SamplingJob, _ plan: Plan, threads: Int, weights: Int
    ) throws(DiffError) {
        let census = ConvolutionCensus()
        let dryRun = try DryRun(job, plan, threads: threads, census: census)
        let baseline = try DryRun(job, Plan(), threads: threads)
        let (decoding, latents) = (dryRun.decoding, (job.latents?.count ?? 0) &* 4)
        self.weights = weights
        cache = dryRun.cacheBytes
        workspace = dryRun.workspace.peakBytes &- dryRun.cacheBytes
        decode = decoding.workspace
        // The last state stays in the workspace while its copy is decoded.
        peak = max(
            Checked.sum(dryRun.workspace.peakBytes, latents, dryRun.resultBytes),
            Checked.sum(latents, latents, decode, decoding.results, dryRun.resultBytes))
        (flops, baselineFlops) = (dryRun.flops, baseline.flops)
        (sites, convolutions) = (dryRun.sites, census.counts)
        (calls, isUpperBound) = (dryRun.networks.count, job.mayEndSooner)
    }

    /// The estimate as JSON, in the form that the C header describes.
    public var json: JSON {
        .object([
            "bytes": .object([
                "weights": .integer(weights), "cache": .integer(cache), "workspace": .integer(workspace),
                "decode": .integer(decode), "peak": .integer(peak),
            ]),
            "calls": .object(["total": .integer(calls), "exact": .bool(!isUpperBound)]),
            "flops": .object(["total": .number(flops), "baseline": .number(baselineFlops)]),
            "sites": .object([
                "computed": .integer(sites.computed), "reused": .integer(sites.reused),
                "skipped": .integer(sites.skipped),
            ]),
            "convolutions": .counts(convolutions),
        ])
    }
}
