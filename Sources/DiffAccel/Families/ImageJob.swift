import DiffModels
import DiffSampling
import DiffTensor

/// A run of reverse diffusion: a request checked against a class-conditional network.
struct ImageJob: SamplingJob {
    let network: any Denoiser
    let process: any Sampler
    /// The sampler's name in statistics.
    let sampler: String
    let source: NoiseSource
    let labels: [Int]
    /// nil: the plain conditional prediction.
    let guidance: Guidance?
    /// [n, C, S, S]
    let shape: Shape
    let decoder: (any StateDecoder)?
    let tiling: Tiling

    var context: SamplingContext {
        SamplingContext(
            layouts: [network.layout], calls: process.calls, steps: process.steps,
            rows: guidance?.rows(labels.count) ?? labels.count, lanes: guidance?.lanes ?? 1,
            times: process.timesteps.map(Float.init), guidance: guidance?.context ?? .none, seed: source.seed)
    }
    var stage: SampleEvent.Stage { .denoise }
    var timesteps: [Double] { process.timesteps }
    var noise: (state: Shape, draws: Int)? { (shape, process.draws) }
    var latents: Shape? { shape }

    func requireFinite(_ run: Run) throws(DiffError) { try source.requireFinite(run) }

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        let state = try process.sample(
            shape, noise: source, guidance: guidance, run,
            observe: { (progress) throws(DiffError) in
                try observe(
                    SamplingProgress(
                        call: progress.index, calls: progress.count, timestep: progress.call.timestep,
                        state: progress.state))
            }
        ) { (x, rows, call, run) throws(DiffError) in
            try network(x, t: run.filled(x.shape[0], with: call.time), y: classes(rows), run)
        }
        return SamplingOutput(latents: state)
    }

    /// The class of each row of a network call; none for an unconditional network.
    private func classes(_ rows: GuidanceRows) -> [Int] {
        network.classRows > 0 ? rows.labels(labels, null: network.nullClass ?? 0) : []
    }
}
