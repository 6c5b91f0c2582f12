import DiffModels
import DiffSampling
import DiffTensor

/// A run from prompts to pictures or sounds: texts to a conditioning, a picture or noise to a state, then reverse diffusion.
final class PromptJob: SamplingJob {
    let network: any ConditionedDenoiser
    /// The sampler, and its name in statistics.
    let process: any Sampler, sampler: String
    let source: NoiseSource
    /// What the network is told.
    let texts: any ConditioningSource
    /// nil: the plain conditional prediction.
    let guidance: Guidance?
    /// [n, C, h, w]
    let shape: Shape
    /// What the run begins with beside noise; nil: nothing.
    let picture: GivenPicture?
    let decoder: (any StateDecoder)?
    let tiling: Tiling
    /// Values of a second of what is decoded, where that is sound.
    let sampleRate: Int?
    /// nil: nothing is said of what was made.
    private let made: PictureParameters?
    private let preview: StatePreview

    init(
        network: any ConditionedDenoiser, process: any Sampler, sampler: String, source: NoiseSource,
        texts: any ConditioningSource, guidance: Guidance?, shape: Shape, picture: GivenPicture? = nil,
        decoder: (any StateDecoder)?, tiling: Tiling = .never, sampleRate: Int? = nil,
        preview: StatePreview = .none, made: PictureParameters? = nil
    ) {
        (self.network, self.process, self.sampler, self.source) = (network, process, sampler, source)
        (self.texts, self.guidance, self.shape, self.picture) = (texts, guidance, shape, picture)
        (self.decoder, self.tiling, self.preview, self.made) = (decoder, tiling, preview, made)
        self.sampleRate = sampleRate
    }

    private var samples: Int { shape[0] }
    private var firstCall: Int { picture?.firstCall ?? 0 }

    var context: SamplingContext {
        SamplingContext(
            layouts: [network.layout], calls: .exactly(process.calls.limit &- firstCall), steps: process.steps,
            rows: guidance?.rows(samples) ?? samples, lanes: guidance?.lanes ?? 1,
            times: timesteps.map { Float($0) }, guidance: guidance?.context ?? .none, seed: source.seed)
    }
    var stage: SampleEvent.Stage { .denoise }
    var timesteps: [Double] {
        var times: [Double] = []
        for (call, time) in process.timesteps.numbered where call >= firstCall { times.append(time) }
        return times
    }
    var noise: (state: Shape, draws: Int)? { (shape, process.draws) }
    var latents: Shape? { shape }
    var encodes: Bool { true }
    var stepsAreAlike: Bool { !preview.givesBlocksBack }
    var parameters: [String] { made?.texts ?? [] }

    func requireFinite(_ run: Run) throws(DiffError) {
        try source.requireFinite(run)
        try texts.requireFinite(run)
        try picture?.requireFinite(run)
    }

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        var noise = source
        // Text and picture encoders are no networks of the session: no method acts on them, and they count apart.
        let encoding = run.withoutAcceleration()
        try encoding.begin(
            SamplingContext(layouts: texts.layouts + (picture?.layouts ?? []), calls: 1, rows: 1))
        let (prepared, given) = try encoding.shared(by: run.ranks) { () throws(DiffError) in
            let prepared = try network.prepare(told(encoding), encoding)
            return (prepared, try picture?.prepared(shape, &noise, encoding))
        }
        try encoding.checkCancel()
        encoding.end()
        try observe(
            SamplingProgress(
                call: 0, calls: 1, timestep: 0, stage: .encode, flops: encoding.trace.flops.each.reduce(0, +)))
        let begun = given?.start ?? SamplingStart()
        let channels = given?.channels
        let state = try process.sample(
            shape, noise: noise, guidance: guidance, from: begun, run,
            observe: { (progress) throws(DiffError) in
                try observe(
                    SamplingProgress(
                        call: progress.index, calls: progress.count, timestep: progress.call.timestep,
                        state: progress.state,
                        preview: preview.picture(progress.predictedClean ?? progress.state, encoding)))
            }
        ) { [network, samples] (x, rows, call, run) throws(DiffError) in
            let told = try Self.rows(of: prepared, rows, samples)
            let input = try channels.map { (more) throws(DiffError) in try Self.joined(x, more, rows, run) } ?? x
            return try network(input, t: run.filled(input.shape[0], with: call.time), told, run)
        }
        return SamplingOutput(latents: state)
    }

    /// What the network is told: of several ranks the first one reads the prompts, for all.
    private func told(_ run: Run) throws(DiffError) -> Conditioning {
        guard !run.isRoot else {
            return try texts.conditioning(samples, guided: guidance != nil, run).mapped { (x) throws(DiffError) in
                try run.spread(x)
                return x
            }
        }
        let dry = Run(dryOn: run.threads)
        try dry.begin(SamplingContext(layouts: texts.layouts, calls: 1, rows: 1))
        return try texts.conditioning(samples, guided: guidance != nil, dry).mapped { (outline) throws(DiffError) in
            let x = try run.workspace.take(outline.shape)
            try run.spread(x)
            return x
        }
    }

    /// The rows of a call: conditional ones are the first.
    private static func rows(
        of prepared: PreparedConditioning, _ rows: GuidanceRows, _ samples: Int
    ) throws(DiffError) -> PreparedConditioning {
        let (first, count) = rows.range(samples)
        return first == 0 && count == prepared.samples ? prepared : try prepared.rows(first, count)
    }

    /// `x` with the channels of a mask and of the masked picture after its own.
    private static func joined(
        _ x: Tensor, _ more: Tensor, _ rows: GuidanceRows, _ run: Run
    ) throws(DiffError) -> Tensor {
        var more = more
        switch rows {
        case .conditional, .unconditional: break
        case .both: more = try run.doubled(more)
        case .some(let first, let count): more = try run.doubled(more).rows(first, count)
        }
        let area = x.shape[2] &* x.shape[3]
        let all = try run.joinedTokens(
            x.reshaped(Shape(x.shape[0], x.shape[1], area)), more.reshaped(Shape(more.shape[0], more.shape[1], area)))
        return try all.reshaped(Shape(x.shape[0], all.shape[1], x.shape[2], x.shape[3]))
    }
}
