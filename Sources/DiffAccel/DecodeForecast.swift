import DiffTensor

/// What decoding the final state of a job takes, by a dry run of it.
struct DecodeForecast {
    /// Bytes of the workspace, what is decoded included, and of the results that are made of it.
    private(set) var workspace = 0, results = 0
    /// Floating-point operations, in all and up to each time that the decoder tells how far it is.
    private(set) var flops = 0.0, progress: [Double] = []

    /// Nothing to decode.
    init() {}

    /// Decoding of `job` as its request asks for it, by one of `ranks` if there are any.
    init(
        _ job: any SamplingJob, threads: Int, ranks: RankShare? = nil, census: ConvolutionCensus? = nil
    ) throws(DiffError) {
        guard let decoder = job.decoder(on: ranks), let latents = job.latents else {
            self.init()
            return
        }
        try self.init(decoder, latents, tile: job.tiling.side, threads: threads, ranks: ranks, census: census)
    }

    /// Decoding of a state of shape `latents` in tiles of this side.
    init(
        _ decoder: any StateDecoder, _ latents: Shape, tile: Int?, threads: Int, ranks: RankShare? = nil,
        census: ConvolutionCensus? = nil
    ) throws(DiffError) {
        let run = Run(dryOn: threads, census: census)
        let state = try Tensor(Storage(virtual: latents.count &* 4), latents)
        var done: [Double] = []
        let decoded = try run.shared(by: decoder.isShared ? ranks : nil) { () throws(DiffError) in
            try decoder.decode(state, tile: tile, run) { (_) throws(DiffError) in
                done.append(run.trace.flops.each.reduce(0, +))
            }
        }
        progress = done
        for tensor in try decoder.results(decoded, run, budget: nil).each where tensor.storage !== state.storage {
            results = Checked.sum(results, tensor.byteCount)
        }
        workspace = run.workspace.peakBytes
        flops = run.trace.flops.each.reduce(0, +)
    }

    /// The tile side that keeps decoding of `latents` within `limit` bytes: nil when whole images fit. Throws `overBudget` when not even the
    /// smallest tiles do.
    static func tile(
        _ decoder: any StateDecoder, _ latents: Shape, threads: Int, ranks: RankShare? = nil, within limit: Int
    ) throws(DiffError) -> Int? {
        let states = 8 &* latents.count
        var least = 0
        for tile in [nil, 64, 32, 16, 8] where tile ?? 0 < max(latents[2], latents[3]) {
            let forecast = try DecodeForecast(decoder, latents, tile: tile, threads: threads, ranks: ranks)
            least = Checked.sum(states, forecast.workspace, forecast.results)
            if least <= limit { return tile }
            // Pictures take as much room in tiles of any side: a dry run of a million tiles would say no more.
            let pictures = Checked.sum(states, forecast.results)
            guard pictures <= limit else {
                throw DiffError(
                    .overBudget, "the decoded pictures alone need \(pictures) bytes, the memory limit is \(limit)")
            }
        }
        throw DiffError(
            .overBudget, "decoding needs \(least) bytes even in the smallest tiles, the memory limit is \(limit)")
    }
}
