import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor

/// Sampling images from a class-conditional network: which sampler and guidance a request means, and the guided call.
struct ImageSampling: FamilySampling {
    let network: any Denoiser
    let solver: any ImageSolver
    /// The model's own guidance scale and guided epsilon channels.
    let guidance: Double
    let guidanceChannels: Int
    let decoder: (any StateDecoder)?
    /// Names of the classes.
    let classes: ClassNames
    /// The steps that the session's plan was learned for.
    var learnedSteps: Int?

    /// The same, in as many steps as the plan was learned for unless a request says otherwise.
    func under(_ plan: Plan, _ options: SessionOptions) throws(DiffError) -> any FamilySampling {
        var planned = self
        planned.learnedSteps = plan.learnedSteps.map { $0 / max(1, callsPerStep) }
        return planned
    }

    var layouts: [SiteLayout] { [network.layout] }
    var callsPerStep: Int { solver.callsPerStep }

    var form: RequestForm {
        ImageRequest.form(network, solver, classes, guidance: guidance, guidanceChannels: guidanceChannels)
    }

    /// Checks `asked` against the model. Throws `invalidArgument`, `shape`, `notFinite` or `unsupported`.
    @inline(never)
    func job(_ asked: SampleRequest) throws(DiffError) -> any SamplingJob {
        let reader = try RequestReader(asked, form)
        let request = try ImageRequest(reader, classes, network)
        let learnsVariance = network.predictedChannels > network.channels
        let (name, sampler) = try solver.sampler(
            request.steps, steps: request.steps.steps ?? learnedSteps ?? StepsRequest.defaultSteps,
            learnsVariance: learnsVariance, tokens: network.side &* network.side)
        if sampler.needsVariance, !learnsVariance {
            throw DiffError(
                .unsupported, "sampler \(name) needs a model that learns the variance; ddim is for all others")
        }
        let shape = try Shape(request.labels.count, network.channels, network.side, network.side)
        let noise = NoiseSource(
            seed: request.seed, start: try reader.floats("noise", shape),
            steps: try reader.floats("step_noise", Shape([sampler.draws] + shape.dims)))
        return ImageJob(
            network: network, process: sampler, sampler: name, source: noise, labels: request.labels,
            guidance: try guidance(request), shape: shape, decoder: request.decode ? decoder : nil,
            tiling: request.tiling)
    }

    /// The guidance that a request means; nil: the plain conditional prediction.
    private func guidance(_ request: ImageRequest) throws(DiffError) -> Guidance? {
        let asked = request.guidanceChannels ?? guidanceChannels
        let guidance = try request.guidance.guidance(
            scale: request.scale ?? (network.nullClass == nil ? 1 : guidance),
            channels: asked == ImageRequest.allChannels ? network.channels : asked, of: network.channels)
        // Like the official evaluation script: at a scale of 1 or less the plain network runs on n samples.
        guard guidance.scale > 1 else { return nil }
        guard network.nullClass != nil else {
            throw DiffError(.unsupported, "guidance needs a null class; this model was trained without label dropout")
        }
        return guidance
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(["labels": [0], "guidance": 1, "decode": false])
        request["sampler"] = solver.previewed.map { .string($0) }
        request["steps"] = steps.map { .integer($0) }
        return request
    }

    /// Floating-point operations of one network call for one sample.
    func flopsPerCall() throws(DiffError) -> Double {
        let run = Run(dryOn: 1)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 1))
        let x = try run.workspace.take(Shape(1, network.channels, network.side, network.side))
        _ = try network(x, t: run.filled(1, with: 0), y: network.classRows > 0 ? [0] : [], run)
        return run.trace.flops.first ?? 0
    }
}
