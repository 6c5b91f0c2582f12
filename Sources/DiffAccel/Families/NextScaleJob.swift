import DiffModels
import DiffSampling
import DiffTensor

/// A run of next-scale generation: a request checked against its networks.
struct NextScaleJob: SamplingJob {
    let networks: [VAR]
    let autoencoder: VQVAE
    let process: NextScaleSampler
    let draws: ScaleDraws
    let labels: [Int]
    let decodes: Bool
    /// Whether each scale is decoded for the observer.
    let previews: Bool
    /// An image of which a part is kept.
    let known: KnownPicture?

    private var codes: ScaleQuantizer { autoencoder.codes }

    var context: SamplingContext {
        SamplingContext(
            layouts: networks.map(\.layout), calls: .exactly(process.steps.count), steps: process.steps.count,
            rows: process.guidance == 0 ? labels.count : 2 &* labels.count,
            guidance: process.guidance == 0 ? .none : .batched, isStateful: true)
    }
    var sampler: String { "next-scale" }
    var stage: SampleEvent.Stage { .scale }
    var timesteps: [Double] { process.steps.map { Double($0.side) } }
    var noise: (state: Shape, draws: Int)? { nil }
    var latents: Shape? {
        let side = codes.schedule.finest
        return try? Shape(labels.count, codes.channels, side, side)
    }
    var decoder: (any StateDecoder)? { decodes ? CodeDecoder(autoencoder: autoencoder) : nil }
    var stepsAreAlike: Bool { false }

    func requireFinite(_ run: Run) throws(DiffError) {
        try draws.requireFinite(run)
        if let known {
            try run.requireFinite(known.image, "the known picture")
            try run.requireFinite(known.mask, "what is kept of the picture")
        }
    }

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        let kept = try known.map { (picture) throws(DiffError) in
            try KnownStates(picture, autoencoder, run.withoutAcceleration())
        }
        if known != nil { run.workspace.trim() }
        let pair = NextScaleNetworks(
            networks, codes, labels: labels, isGuided: process.guidance != 0, choices: process.networks(run),
            known: kept)
        let schedule = codes.schedule
        var tokens = [Int](repeating: 0, count: labels.count &* schedule.tokens)
        let state = try process.sample(pair, draws, run) { (progress) throws(DiffError) in
            let (length, offset) = (schedule.length(progress.scale), schedule.offset(progress.scale))
            for (index, token) in progress.tokens.numbered {
                let position = index / max(1, length) &* schedule.tokens &+ offset &+ index % max(1, length)
                tokens.put(token, at: position)
            }
            try observe(
                SamplingProgress(
                    call: progress.scale, calls: progress.scales, timestep: Double(progress.side),
                    network: progress.network, state: progress.state,
                    preview: previews ? preview(progress.state, run) : nil))
        }
        let all = try ResultTensor(
            "tokens", tokens, Shape(labels.count, schedule.tokens), budget: run.workspace.budget)
        return SamplingOutput(latents: state, others: [all])
    }

    /// The image so far, decoded beside the run: its statistics are the run's alone.
    private func preview(_ state: Tensor, _ run: Run) throws(DiffError) -> ImageBatch? {
        let beside = run.withoutAcceleration()
        let decoder = CodeDecoder(autoencoder: autoencoder)
        let decoded = try decoder.decode(state, tile: nil, beside) { (_) throws(DiffError) in try run.checkCancel() }
        guard let pixels = decoded.first, !run.isDry else { return nil }
        return try decoder.images(pixels, beside, budget: run.workspace.budget)
    }
}
