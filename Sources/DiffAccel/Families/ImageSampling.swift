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
    let decoder: ImageDecoder?
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

    /// Checks `request` against the model. Throws `invalidArgument`, `shape`, `notFinite` or `unsupported`.
    @inline(never)
    func job(_ request: SampleRequest) throws(DiffError) -> any SamplingJob {
        guard request.scales.areDefault, !request.previews else {
            throw DiffError(
                .unsupported,
                "top_k, top_p, temperature, draws, known pictures and previews are for models that work scale by scale")
        }
        let learnsVariance = network.predictedChannels > network.channels
        let (name, sampler) = try solver.sampler(
            request, steps: request.steps ?? learnedSteps ?? SampleRequest.defaultSteps, learnsVariance: learnsVariance)
        if sampler.needsVariance, !learnsVariance {
            throw DiffError(
                .unsupported, "sampler \(name) needs a model that learns the variance; ddim is for all others")
        }
        let shape = try checkLabels(request.labels)
        let noise = NoiseSource(
            seed: request.seed, start: try Self.given(request.noise, "noise", shape.dims),
            steps: try Self.given(request.stepNoise, "step_noise", [sampler.draws] + shape.dims))
        return ImageJob(
            network: network, process: sampler, sampler: name, source: noise, labels: request.labels,
            guidance: try guidance(request), shape: shape, decoder: request.decode ? decoder : nil)
    }

    /// The caller's noise in the shape the sampler reads, checked.
    private static func given(_ tensor: Tensor?, _ name: String, _ dims: [Int]) throws(DiffError) -> Tensor? {
        guard let tensor else { return nil }
        let shape = try Shape(dims)
        guard tensor.shape.count == shape.count else {
            throw DiffError(.shape, "\(name): \(tensor.shape.count) values, expected \(shape.count) for \(shape)")
        }
        return try tensor.reshaped(shape)
    }

    private func checkLabels(_ labels: [Int]) throws(DiffError) -> Shape {
        guard (1...SampleRequest.maxSamples).contains(labels.count) else {
            throw DiffError(
                .invalidArgument, "a request needs 1...\(SampleRequest.maxSamples) labels, found \(labels.count)")
        }
        // Of an unconditional network labels say how many samples are wanted, and nothing else.
        let rows = max(1, network.classRows)
        for (index, label) in labels.numbered where label < 0 || label >= rows {
            throw DiffError(.invalidArgument, "label \(label) at position \(index) is outside 0..<\(rows)")
        }
        return try Shape(labels.count, network.channels, network.side, network.side)
    }

    /// The guidance that a request means; nil: the plain conditional prediction.
    private func guidance(_ request: SampleRequest) throws(DiffError) -> Guidance? {
        let asked = request.guidanceChannels ?? guidanceChannels
        let guidance = try Guidance(
            scale: request.guidance ?? (network.nullClass == nil ? 1 : guidance),
            channels: asked == SampleRequest.allChannels ? network.channels : asked, of: network.channels,
            rescale: request.guidanceRescale, interval: request.guidanceInterval, execution: request.guidanceExecution)
        // Like the official evaluation script: at a scale of 1 or less the plain network runs on n samples.
        guard guidance.scale > 1 else { return nil }
        guard network.nullClass != nil else {
            throw DiffError(.unsupported, "guidance needs a null class; this model was trained without label dropout")
        }
        return guidance
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(labels: [0])
        (request.sampler, request.steps, request.guidance, request.decode) = (solver.previewed, steps, 1, false)
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
