import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// The transformer of Stable Diffusion 3 and its sampler, from recorded embeddings of prompts: `asyncdiff-sd3` and `sd3-e2e`.
enum GoldenMMDiT {
    /// NOTES.md of both: latents, largest difference.
    static let latents = GoldenTolerance.absolute(1e-3)
    /// Recorded in single precision.
    static let tables = GoldenTolerance.relative(2e-7)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try fixture.checkpoint()
        let network = try load(checkpoint, checkpoint.configuration.object("model"))
        report.uses(
            "init_noise", "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
            "negative_pooled_prompt_embeds")
        var process = FlowMatching()
        process.shift = 3
        let run = try GoldenFlowRun(
            network, fixture, prefix: "", start: "init_noise",
            guidance: fixture.config.number("guidance_scale", in: 0...1000),
            steps: fixture.config.integer("num_inference_steps", in: 1...1000), process)
        try report.compare("sequential.pred", run.predictions, latents)
        try report.compare("sequential.latents", fixture.floats("init_noise") + run.states, latents)
        try GoldenAsyncDiff.check(fixture, &report)
    }

    /// A complete pipeline; what the text encoders do is checked elsewhere.
    static func endToEnd(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let checkpoint = try Checkpoint.open(path: "\(fixture.path)/model/transformer")
        let network = try load(checkpoint, checkpoint.configuration)
        let scheduler = try JSONObject(
            JSON(contentsOf: "\(fixture.path)/model/scheduler/scheduler_config.json"), source: "scheduler_config.json")
        var process = FlowMatching()
        process.shift = try scheduler.number("shift", in: 0...1000)
        let vae = try Checkpoint.open(path: "\(fixture.path)/model/vae")
        let autoencoder = try Autoencoder(AutoencoderConfiguration(vae.configuration), vae.weights())
        for one in try fixture.config.objects("runs") {
            let (name, asked) = (try one.string("name"), try one.object("kw"))
            let run = try GoldenFlowRun(
                network, fixture, prefix: "\(name).", start: "\(name).init_latents",
                guidance: asked.number("guidance_scale", in: 0...1000),
                steps: asked.integer("num_inference_steps", in: 1...1000), process)
            for key in ["init_latents", "prompt_embeds", "pooled_prompt_embeds"] { report.uses("\(name).\(key)") }
            for key in ["negative_prompt_embeds", "negative_pooled_prompt_embeds"] where fixture.has("\(name).\(key)") {
                report.uses("\(name).\(key)")
            }
            try report.compare("\(name).timesteps", run.timesteps, tables)
            try report.compare("\(name).sigmas", run.sigmas, tables)
            try report.compare("\(name).latents", run.states, latents)
            let decoding = Run(pool: try WorkerPool(threads: 2), budget: nil)
            try decoding.begin(SamplingContext(layouts: [autoencoder.layout], calls: 1, rows: 1))
            let image = try autoencoder.decode(run.last, decoding).array.map { min(max($0 / 2 + 0.5, 0), 1) }
            try report.compare("\(name).image01", image, .absolute(5e-4))
            report.leaves("\(name).ids", because: "tokens are compared by GoldenPromptTests")
        }
    }

    private static func load(_ checkpoint: Checkpoint, _ config: JSONObject) throws -> MMDiT {
        try MMDiT(MMDiTConfiguration(config), checkpoint.weights())
    }
}

/// A run of the sampler over the network with recorded embeddings, under guidance as diffusers does it.
struct GoldenFlowRun {
    private(set) var predictions: [Float] = [], states: [Float] = []
    let timesteps, sigmas: [Double]
    let last: Tensor

    init(
        _ network: MMDiT, _ fixture: GoldenFixture, prefix: String, start: String, guidance: Double, steps: Int,
        _ process: FlowMatching
    ) throws {
        var x = try fixture.tensor(start)
        let (n, patch) = (x.shape[0], network.configuration.patchSize)
        var sampler = try FlowMatchMethod.euler.sampler(
            process, steps: steps, tokens: x.shape[2] * x.shape[3] / (patch * patch))
        (timesteps, sigmas) = (sampler.timesteps, sampler.sigmas)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        try run.begin(SamplingContext(layouts: [network.layout], calls: sampler.calls.limit, rows: 2 * n))
        let isGuided = guidance > 1
        func both(_ name: String) throws -> Tensor {
            let own = try fixture.tensor("\(prefix)\(name)")
            guard isGuided else { return own }
            let other = try fixture.tensor("\(prefix)negative_\(name)")
            return try Tensor(other.array + own.array, own.shape.replacingFirst(2 * n))
        }
        var conditioning = Conditioning(states: try both("prompt_embeds"))
        conditioning.pooled = try both("pooled_prompt_embeds")
        let prepared = try network.prepare(conditioning, run)
        while let call = sampler.call {
            let input = isGuided ? try run.doubled(x) : x
            let t = try run.filled(input.shape[0], with: Float(call.timestep))
            var output = try network(input, t: t, prepared, run)
            if isGuided {
                let (without, with) = (try output.rows(0, n), try output.rows(n, n))
                output = try run.combine(1, without, Float(guidance), run.combine(1, with, -1, without))
            }
            predictions += output.array
            x = try sampler.step(x, output, run, draw: { () throws(DiffError) in throw .cancelled }).state
            states += x.array
        }
        last = x
    }
}
