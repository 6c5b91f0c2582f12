import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// One pipeline of sounds: its parts, and what its requests have where they say nothing.
final class AudioPipeline: Sendable {
    let kind: AudioKind
    let audio: AudioParts
    let conditioner: AudioConditioner

    init(_ kind: AudioKind, _ audio: AudioParts, _ conditioner: AudioConditioner) {
        (self.kind, self.audio, self.conditioner) = (kind, audio, conditioner)
    }

    /// The length that the network was trained with.
    var seconds: Double {
        let (rates, side) = (audio.rates, audio.network.side)
        return min(max(Double(side) * Double(rates.factor) * rates.frame, rates.least), AudioLength.most)
    }
}

/// Sampling sounds from prompts: what a request means for one pipeline.
struct AudioSampling: FamilySampling {
    let pipeline: AudioPipeline
    /// The steps that the session's plan was learned for.
    private var learnedSteps: Int?

    init(_ pipeline: AudioPipeline) { self.pipeline = pipeline }

    /// The same, in as many steps as the plan was learned for unless a request says otherwise.
    func under(_ plan: Plan, _ options: SessionOptions) throws(DiffError) -> any FamilySampling {
        var planned = self
        planned.learnedSteps = plan.learnedSteps.map { $0 / max(1, callsPerStep) }
        return planned
    }

    private var network: UNet { pipeline.audio.network }
    private var solver: any ImageSolver { pipeline.audio.solver }
    var layouts: [SiteLayout] { [network.layout] }
    var callsPerStep: Int { solver.callsPerStep }

    var form: RequestForm { AudioRequest.form(pipeline) }

    /// Checks `asked` against the model. Throws `invalidArgument`, `shape`, `incompatible` or `unsupported`.
    @inline(never)
    func job(_ asked: SampleRequest) throws(DiffError) -> any SamplingJob {
        let reader = try RequestReader(asked, form)
        let request = try AudioRequest(reader)
        let audio = pipeline.audio
        let length = try AudioLength(seconds: request.seconds ?? pipeline.seconds, audio.rates)
        let guidance = try request.guidance.guidance(
            scale: request.scale ?? pipeline.kind.guidance, channels: network.channels, of: network.channels)
        let isGuided = guidance.scale > 1
        let said = try AudioWords(reader, request, pipeline.conditioner, guided: isGuided)
        let samples = try samples(request, said.count)
        let shape = try Shape(samples, network.channels, length.latents, audio.bands)
        let (name, sampler) = try solver.sampler(
            request.steps, steps: request.steps.steps ?? learnedSteps ?? pipeline.kind.steps, learnsVariance: false,
            tokens: shape[2] &* shape[3])
        if sampler.needsVariance {
            throw DiffError(.unsupported, "sampler \(name) needs a model that learns the variance")
        }
        let noise = NoiseSource(
            seeds: request.seeds, start: try reader.floats("noise", shape),
            steps: try reader.floats("step_noise", Shape([sampler.draws] + shape.dims)))
        let decoder = WaveformDecoder(
            autoencoder: audio.autoencoder, vocoder: audio.vocoder, frames: length.frames, samples: length.samples)
        return PromptJob(
            network: network, process: sampler, sampler: name, source: noise,
            texts: said.prompts(pipeline.conditioner, request), guidance: isGuided ? guidance : nil, shape: shape,
            decoder: request.decode ? decoder : nil, sampleRate: audio.rates.sampleRate)
    }

    /// The number of sounds. Throws `invalidArgument` when prompts and seeds do not agree.
    private func samples(_ request: AudioRequest, _ prompts: Int) throws(DiffError) -> Int {
        guard let samples = Checked.multiply(prompts, request.perPrompt), samples <= SampleRequest.maxSamples else {
            throw DiffError(
                .invalidArgument,
                "request: \(prompts) prompts, \(request.perPrompt) sounds of each: more than \(SampleRequest.maxSamples)"
            )
        }
        guard request.seeds.count == 1 || request.seeds.count == samples else {
            throw DiffError(.invalidArgument, "request: \(request.seeds.count) seeds for \(samples) sounds")
        }
        return samples
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(["guidance": 1, "decode": false])
        request["steps"] = steps.map { .integer($0) }
        guard pipeline.conditioner.missing != nil else {
            request["prompt"] = ""
            return request
        }
        // What texts would become, where they cannot be read.
        for (name, dims) in AudioRequest.embeddings(pipeline.conditioner, network).each {
            guard let shape = try? Shape(dims),
                let zeros = try? Tensor([Float](repeating: 0, count: max(0, shape.count)), shape)
            else { continue }
            request.tensors.put(.floats(zeros), for: name)
        }
        return request
    }

    /// Floating-point operations of one network call for one sample.
    func flopsPerCall() throws(DiffError) -> Double {
        let run = Run(dryOn: 1)
        try run.begin(SamplingContext(layouts: layouts, calls: 1, rows: 1))
        var told: Conditioning
        if case .sequence(let second) = pipeline.conditioner.form {
            told = Conditioning(
                states: try run.workspace.take(Shape(1, pipeline.conditioner.generated, network.textWidth)))
            if let second {
                told.secondStates = try run.workspace.take(Shape(1, Self.usualTokens, second))
                told.secondMask = try run.filled(Self.usualTokens, with: 1).reshaped(Shape(1, Self.usualTokens))
            }
        } else {
            told = try Conditioning(pooled: run.workspace.take(Shape(1, network.pooledWidth ?? 1)))
        }
        let prepared = try network.prepare(told, run.withoutAcceleration())
        let x = try run.workspace.take(Shape(1, network.channels, network.side, pipeline.audio.bands))
        _ = try network(x, t: run.filled(1, with: 0), prepared, run)
        return run.trace.flops.first ?? 0
    }

    /// Tokens of a prompt of usual length.
    private static let usualTokens = 20
}
