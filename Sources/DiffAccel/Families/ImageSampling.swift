import DiffModels
import DiffSampling
import DiffTensor

/// Sampling images from a class-conditional network: which sampler and guidance a request means, and the guided call.
struct ImageSampling: Sendable {
    let network: DiT
    let process: DiffusionProcess
    /// The model's own guidance scale, guided epsilon channels and timestep spacing.
    let guidance: Double
    let guidanceChannels: Int
    let spacing: String
    let decoder: ImageDecoder?

    /// A request checked against the model: everything a run needs.
    struct Job: Sendable {
        let sampler: DiffusionSampler
        let noise: NoiseSource
        let labels: [Int]
        /// Scale and guided channels; nil: the plain conditional prediction.
        let guidance: (scale: Float, channels: Int)?
        /// [n, C, S, S]
        let shape: Shape
        /// Samples per network call.
        var networkBatch: Int { guidance == nil ? labels.count : 2 &* labels.count }
    }

    /// Checks `request` against the model. Throws `invalidArgument`, `shape`, `notFinite` or `unsupported`.
    @inline(never)
    func job(_ request: SampleRequest) throws(DiffError) -> Job {
        let c = network.configuration
        let timesteps = try request.timestepSpacing(default: spacing)
        guard (1...SampleRequest.maxSteps).contains(timesteps.steps) else {
            throw DiffError(.invalidArgument, "steps must be 1...\(SampleRequest.maxSteps), found \(timesteps.steps)")
        }
        let schedule = try DiffusionSchedule(process, timesteps)
        let method: DiffusionMethod
        switch request.sampler {
        case .ddim: method = .ddim(eta: request.eta)
        case .ddpm: method = .ddpm
        }
        if method == .ddpm, c.outChannels == c.inChannels {
            throw DiffError(.unsupported, "sampler ddpm needs a model that learns the variance")
        }
        let shape = try checkLabels(request.labels)
        let stepDims = [schedule.count] + shape.dims
        let noise = NoiseSource(
            seed: request.seed, start: try Self.given(request.noise, "noise", shape.dims),
            steps: try Self.given(request.stepNoise, "step_noise", stepDims))
        return Job(
            sampler: try DiffusionSampler(schedule, method), noise: noise, labels: request.labels,
            guidance: try guidance(request), shape: shape)
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
        let c = network.configuration
        guard (1...SampleRequest.maxSamples).contains(labels.count) else {
            throw DiffError(
                .invalidArgument, "a request needs 1...\(SampleRequest.maxSamples) labels, found \(labels.count)")
        }
        for (index, label) in labels.enumerated() where label < 0 || label >= c.classRows {
            throw DiffError(.invalidArgument, "label \(label) at position \(index) is outside 0..<\(c.classRows)")
        }
        return try Shape(labels.count, c.inChannels, c.inputSize, c.inputSize)
    }

    private func guidance(_ request: SampleRequest) throws(DiffError) -> (scale: Float, channels: Int)? {
        let c = network.configuration
        let scale = request.guidance ?? (c.nullClass == nil ? 1 : guidance)
        guard scale.isFinite, (0...1000).contains(scale) else {
            throw DiffError(.invalidArgument, "guidance must be 0...1000, found \(scale)")
        }
        let asked = request.guidanceChannels ?? guidanceChannels
        let channels = asked == SampleRequest.allChannels ? c.inChannels : asked
        guard channels >= 1, channels <= c.inChannels else {
            throw DiffError(.invalidArgument, "guidance_channels must be 1...\(c.inChannels), found \(channels)")
        }
        // Like the official evaluation script: at a scale of 1 or less the plain network runs on n samples.
        guard scale > 1 else { return nil }
        guard c.nullClass != nil else {
            throw DiffError(.unsupported, "guidance needs a null class; this model was trained without label dropout")
        }
        return (Float(scale), channels)
    }

    /// What methods are told before the run.
    func opening(_ job: Job) -> Opening {
        Opening(
            layouts: [network.layout], calls: job.sampler.calls, steps: job.sampler.calls, rows: job.networkBatch)
    }

    /// The state after all steps, [n, C, S, S].
    func sample(
        _ job: Job, _ run: Run, observe: (DiffusionProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        let labels = guidedLabels(job)
        return try job.sampler.sample(
            job.shape, noise: job.noise, networkBatch: job.networkBatch, run, observe: observe
        ) { (x, call, run) throws(DiffError) in
            // Both halves start from the same state: with guidance the network's batch is [x; x], [y; null].
            let input = job.guidance == nil ? x : try run.doubled(x)
            let t = try run.filled(job.networkBatch, with: call.time)
            let out = try network(input, t: t, y: labels, run)
            guard let guidance = job.guidance else { return out }
            return try run.guided(out, scale: guidance.scale, channels: guidance.channels)
        }
    }

    private func guidedLabels(_ job: Job) -> [Int] {
        guard job.guidance != nil, let null = network.configuration.nullClass else { return job.labels }
        return job.labels + job.labels.map { _ in null }
    }
}
