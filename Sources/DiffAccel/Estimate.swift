import DiffAcceleration
public import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// The memory and arithmetic of a request, learned from a dry run of it.
public struct Estimate: Sendable, Equatable {
    /// Bytes: weights in memory, outputs kept by methods, the denoising workspace, and the decoder's.
    public let weights: Int, cache: Int, workspace: Int, decode: Int
    /// The session's peak, results included and weights excluded: what its memory limit must allow.
    public let peak: Int
    /// Floating-point operations of all network calls, and of the same request without plan.
    public let flops: Double, baselineFlops: Double
    /// Attention and MLP outputs of all steps.
    public let sites: SiteCounts

    init(
        _ sampling: ImageSampling, _ job: ImageSampling.Job, _ request: SampleRequest, _ plan: Plan, threads: Int,
        weights: Int
    ) throws(DiffError) {
        let rehearsal = try Rehearsal(sampling, job, plan, threads: threads)
        let baseline = try Rehearsal(sampling, job, Plan(), threads: threads)
        let (decode, results) =
            request.decode ? try Self.decodeBytes(sampling, job, tile: request.tileSide, threads) : (0, 0)
        let latents = job.shape.count &* 4
        self.weights = weights
        cache = rehearsal.cacheBytes
        workspace = rehearsal.workspace.peakBytes &- rehearsal.cacheBytes
        self.decode = decode
        // The last state stays in the workspace while its copy is decoded.
        peak = max(Checked.sum(rehearsal.workspace.peakBytes, latents), Checked.sum(latents, latents, decode, results))
        (flops, baselineFlops) = (rehearsal.flops, baseline.flops)
        sites = rehearsal.counts(sampling.network.layout.sites(.attention, .mlp))
    }

    /// Workspace of decoding (the pixels included) and bytes of the results it makes.
    private static func decodeBytes(
        _ sampling: ImageSampling, _ job: ImageSampling.Job, tile: Int?, _ threads: Int
    ) throws(DiffError) -> (workspace: Int, results: Int) {
        guard let decoder = sampling.decoder else { return (0, 0) }
        let run = Run(dryOn: threads)
        guard case .latents = decoder else { return (0, job.shape.count) }
        let state = try Tensor(Storage(virtual: job.shape.count &* 4), job.shape)
        let pixels = try decoder.decode(state, tile: tile, run) { (_) throws(DiffError) in }
        return (run.workspace.peakBytes, pixels.shape.count &* 5)
    }

    /// The tile side that keeps decoding within `limit` bytes: nil when whole images fit. Throws `overBudget` when not even
    /// the smallest tiles do.
    static func tile(
        _ sampling: ImageSampling, _ job: ImageSampling.Job, threads: Int, within limit: Int
    ) throws(DiffError) -> Int? {
        let latents = 8 &* job.shape.count
        var least = 0
        for tile in [nil, 64, 32, 16, 8] where tile ?? 0 < max(job.shape[2], job.shape[3]) {
            let bytes = try decodeBytes(sampling, job, tile: tile, threads)
            least = Checked.sum(latents, bytes.workspace, bytes.results)
            if least <= limit { return tile }
        }
        throw DiffError(
            .overBudget, "decoding needs \(least) bytes even in the smallest tiles, the memory limit is \(limit)")
    }

    /// The estimate as JSON, in the form that the C header describes.
    public var json: JSON {
        .object([
            "bytes": .object([
                "weights": .integer(weights), "cache": .integer(cache), "workspace": .integer(workspace),
                "decode": .integer(decode), "peak": .integer(peak),
            ]),
            "flops": .object(["total": .number(flops), "baseline": .number(baselineFlops)]),
            "sites": .object([
                "computed": .integer(sites.computed), "reused": .integer(sites.reused),
                "skipped": .integer(sites.skipped),
            ]),
        ])
    }
}

extension SampleRequest {
    var tileSide: Int? { if case .side(let side) = tiling { side } else { nil } }
}
