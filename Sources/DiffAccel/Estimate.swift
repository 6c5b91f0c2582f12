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
        _ job: any SamplingJob, _ tile: Int?, _ plan: Plan, threads: Int, weights: Int
    ) throws(DiffError) {
        let dryRun = try DryRun(job, plan, threads: threads)
        let baseline = try DryRun(job, Plan(), threads: threads)
        var decoding = (workspace: 0, results: 0)
        let latents = (job.latents?.count ?? 0) &* 4
        if let decoder = job.decoder, let shape = job.latents {
            decoding = try Self.decodeBytes(decoder, shape, tile: tile, threads)
        }
        self.weights = weights
        cache = dryRun.cacheBytes
        workspace = dryRun.workspace.peakBytes &- dryRun.cacheBytes
        decode = decoding.workspace
        // The last state stays in the workspace while its copy is decoded.
        peak = max(
            Checked.sum(dryRun.workspace.peakBytes, latents, dryRun.resultBytes),
            Checked.sum(latents, latents, decode, decoding.results, dryRun.resultBytes))
        (flops, baselineFlops) = (dryRun.flops, baseline.flops)
        sites = dryRun.sites
    }

    /// Workspace of decoding (the pixels included) and bytes of the results it makes.
    private static func decodeBytes(
        _ decoder: ImageDecoder, _ latents: Shape, tile: Int?, _ threads: Int
    ) throws(DiffError) -> (workspace: Int, results: Int) {
        let run = Run(dryOn: threads)
        if case .pixels = decoder { return (0, latents.count) }
        let state = try Tensor(Storage(virtual: latents.count &* 4), latents)
        let pixels = try decoder.decode(state, tile: tile, run) { (_) throws(DiffError) in }
        _ = try decoder.levels(pixels, run)
        return (run.workspace.peakBytes, pixels.shape.count &* 5)
    }

    /// The tile side that keeps decoding of `shape` within `limit` bytes: nil when whole images fit. Throws `overBudget` when
    /// not even the smallest tiles do.
    static func tile(
        _ decoder: ImageDecoder, _ shape: Shape, threads: Int, within limit: Int
    ) throws(DiffError) -> Int? {
        let latents = 8 &* shape.count
        var least = 0
        for tile in [nil, 64, 32, 16, 8] where tile ?? 0 < max(shape[2], shape[3]) {
            let bytes = try decodeBytes(decoder, shape, tile: tile, threads)
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
