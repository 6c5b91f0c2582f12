import DiffModels
import DiffSampling
import DiffTensor

/// A fixture's network without the library's front door: runs of its own, with a probe when wanted.
struct GoldenNetwork {
    let network: DiT

    init(_ fixture: GoldenFixture, _ conventions: DiTConventions) throws {
        let configuration = try DiTConfiguration(fixture.config.object("model"), conventions: conventions)
        network = try DiT(configuration, fixture.checkpoint().weights())
    }

    /// A run of one call over `rows` samples.
    func run(rows: Int, _ methods: (any Acceleration)...) throws -> Run {
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack(methods))
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: rows))
        return run
    }

    /// States and predicted clean images after every step of a guided run of `sampler`.
    func sampled(
        _ sampler: any Sampler, noise: Tensor, labels: [Int], scale: Float, channels: Int
    ) throws -> (states: [Float], clean: [Float]) {
        let null = network.configuration.nullClass ?? 0
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let batch = 2 * labels.count
        try run.begin(
            SamplingContext(layouts: [network.layout], calls: sampler.calls, steps: sampler.steps, rows: batch))
        var (states, clean): ([Float], [Float]) = ([], [])
        _ = try sampler.sample(
            noise.shape, noise: NoiseSource(seed: 0, start: noise), networkBatch: batch, run,
            observe: { (progress) throws(DiffError) in
                states += progress.state.array
                clean += progress.predictedClean?.array ?? []
            },
            denoise: { (x, call, run) throws(DiffError) in
                let out = try network(
                    run.doubled(x), t: run.filled(batch, with: call.time), y: labels + labels.map { _ in null }, run)
                return try run.guided(out, scale: scale, channels: channels)
            })
        return (states, clean)
    }
}
