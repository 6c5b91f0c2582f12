import DiffModels
import DiffSampling
import DiffTensor

/// A run of reverse diffusion: a request checked against a class-conditional network, and the guided call.
struct ImageJob: SamplingJob {
    let network: any Denoiser
    let process: any Sampler
    /// The sampler's name in statistics.
    let sampler: String
    let source: NoiseSource
    let labels: [Int]
    /// Scale and guided channels; nil: the plain conditional prediction.
    let guidance: (scale: Float, channels: Int)?
    /// [n, C, S, S]
    let shape: Shape
    let decoder: (any StateDecoder)?
    let tiling: Tiling

    /// Samples per network call.
    private var networkBatch: Int { guidance == nil ? labels.count : 2 &* labels.count }

    var context: SamplingContext {
        SamplingContext(
            layouts: [network.layout], calls: process.calls, steps: process.steps, rows: networkBatch,
            times: process.timesteps.map(Float.init), guidance: guidance == nil ? .none : .batched, seed: source.seed)
    }
    var stage: SampleEvent.Stage { .denoise }
    var timesteps: [Double] { process.timesteps }
    var noise: (state: Shape, draws: Int)? { (shape, process.draws) }
    var latents: Shape? { shape }

    func requireFinite(_ run: Run) throws(DiffError) { try source.requireFinite(run) }

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        let labels = guidedLabels
        let state = try process.sample(
            shape, noise: source, networkBatch: networkBatch, doubles: carriesBothHalves, run,
            observe: { (progress) throws(DiffError) in
                try observe(
                    SamplingProgress(
                        call: progress.index, calls: progress.count, timestep: progress.call.timestep,
                        state: progress.state.rows(0, shape[0])))
            }
        ) { (x, call, run) throws(DiffError) in
            // Both halves start from the same state: with guidance the network's batch is [x; x], [y; null].
            let input = guidance == nil ? x : try run.doubled(x.rows(0, shape[0]))
            let t = try run.filled(networkBatch, with: call.time)
            let out = try network(input, t: t, y: labels, run)
            guard let guidance else { return out }
            return carriesBothHalves
                ? try run.guidedHalves(out, scale: guidance.scale, channels: guidance.channels)
                : try run.guided(out, scale: guidance.scale, channels: guidance.channels)
        }
        return SamplingOutput(latents: try state.rows(0, shape[0]))
    }

    /// Whether the state has an unconditional half: an adaptive solver measures its error over all of it, so its steps depend on it.
    private var carriesBothHalves: Bool {
        if case .atMost = process.calls { guidance != nil } else { false }
    }

    private var guidedLabels: [Int] {
        guard network.classRows > 0 else { return [] }
        guard guidance != nil, let null = network.nullClass else { return labels }
        return labels + labels.map { _ in null }
    }
}
