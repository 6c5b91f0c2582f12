import DiffModels
import DiffSampling
import DiffTensor

/// A run of generation by tokens: a request checked against a MAR.
struct TokenDiffusionJob: SamplingJob {
    let network: MAR
    let process: TokenDiffusionSampler
    let source: TokenNoise
    let labels: [Int]
    let seed: UInt64
    let isGuided: Bool
    let decoder: (any StateDecoder)?
    let tiling: Tiling
    /// What decodes the tokens so far for the observer, when they are to be seen.
    let previewer: (any PictureDecoder)?

    var context: SamplingContext {
        SamplingContext(
            layouts: [network.layout], calls: .exactly(process.iterations.count), steps: process.iterations.count,
            rows: isGuided ? 2 &* labels.count : labels.count, guidance: isGuided ? .batched : .none, seed: seed,
            isStateful: true)
    }
    var sampler: String { "mar" }
    var stage: SampleEvent.Stage { .unmask }
    /// Tokens of a sample that each call leaves unknown.
    var timesteps: [Double] { process.iterations.map { Double($0.after) } }
    var noise: (state: Shape, draws: Int)? { nil }
    var latents: Shape? {
        let c = network.configuration
        return try? Shape(labels.count, c.channels, c.side, c.side)
    }

    func requireFinite(_ run: Run) throws(DiffError) { try source.requireFinite(run) }

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        let c = network.configuration
        let networks = MARNetworks(
            network, labels: labels, times: process.headTimesteps, mostWanted: process.mostWanted)
        let tokens = try process.sample(networks, source, width: c.tokenWidth, run) { (progress) throws(DiffError) in
            // What is not known yet is 0 and shows nothing wrong.
            try run.requireFinite(progress.predicted, "the tokens of step \(progress.index &+ 1) (weights or inputs)")
            let state = try latents(of: progress.tokens, run)
            try observe(
                SamplingProgress(
                    call: progress.index, calls: progress.count, timestep: Double(progress.iteration.after),
                    state: state, preview: preview(state, run)))
        }
        return SamplingOutput(latents: try latents(of: tokens, run))
    }

    /// Tokens [n, tokens, width] as latents [n, C, S, S].
    private func latents(of tokens: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let c = network.configuration
        return try run.unpatchifiedChannels(
            tokens, channels: c.channels, gridHeight: c.grid, gridWidth: c.grid, patch: c.patchSize)
    }

    /// The picture so far, decoded beside the run: its statistics are the run's alone.
    private func preview(_ state: Tensor, _ run: Run) throws(DiffError) -> ImageBatch? {
        guard let previewer else { return nil }
        let beside = run.withoutAcceleration()
        let decoded = try previewer.decode(state, tile: nil, beside) { (_) throws(DiffError) in try run.checkCancel() }
        guard let pixels = decoded.first, !run.isDry else { return nil }
        return try previewer.images(pixels, beside, budget: run.workspace.budget)
    }
}
