public import DiffTensor

/// Denoising diffusion implicit models (Song et al. 2021).
///
/// x' = √ᾱ' x0 + √(1 - ᾱ' - σ²) ε + σ z with σ = η √((1 - ᾱ') / (1 - ᾱ)) √(1 - ᾱ / ᾱ'). Float32 in the order of operations of
/// the official DiT code, where the process is respaced; diffusers' results differ from it in rounding only.
public struct DDIMSampler: TransitionSampler {
    /// The steps from the noisiest to the cleanest.
    public let transitions: [DiffusionTransition]
    /// 0 is deterministic, 1 adds the posterior's noise.
    public let eta: Double
    private let prediction: PredictionType
    private let clipping: SampleClipping?
    /// The transition that the next evaluation belongs to.
    public var position = 0

    /// A sampler over `transitions`. Throws `invalidArgument` for an eta outside 0...1.
    public init(
        _ transitions: [DiffusionTransition], eta: Double = 0, prediction: PredictionType = .epsilon,
        clipping: SampleClipping? = nil
    ) throws(DiffError) {
        guard (0...1).contains(eta) else { throw DiffError(.invalidArgument, "eta must be 0...1, found \(eta)") }
        (self.transitions, self.eta, self.prediction, self.clipping) = (transitions, eta, prediction, clipping)
    }

    /// The official DiT's sampler on a respaced process.
    public init(_ schedule: DiffusionSchedule, eta: Double = 0) throws(DiffError) {
        try self.init(schedule.transitions, eta: eta)
    }

    /// The name in statistics.
    public var name: String { "ddim" }

    /// The state that follows from an evaluation.
    public mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard let now = transitions.at(position) else { throw exhausted }
        position &+= 1
        let z = eta == 0 ? nil : try draw()
        let predicted = try now.clean(x, output, prediction, run)
        let clean = if let clipping { try clipping.apply(predicted, run) } else { predicted }
        // The official code derives ε again from x0, clamped or not; so it is done here wherever that is the same but for rounding.
        let recovers = clipping?.recoversNoise ?? (prediction == .epsilon)
        let noise =
            recovers ? try now.recovered(x, clean, run) : try now.noise(x, output, predicted, prediction, run)
        let (alpha, previous) = (Float(now.alpha), Float(now.previous))
        let sigma = Float(eta) * ((1 - previous) / (1 - alpha)).squareRoot() * (1 - alpha / previous).squareRoot()
        let direction = max(0, 1 - previous - sigma * sigma).squareRoot()
        let mean = try run.combine(previous.squareRoot(), clean, direction, noise)
        guard sigma != 0, let z else { return SamplerStep(mean, predictedClean: clean) }
        return SamplerStep(try run.combine(1, mean, sigma, z), predictedClean: clean)
    }
}

extension DDIMSampler {
    static let entry = SamplerEntry(
        "ddim", "DDIMScheduler",
        keys: [
            "timestep_spacing", "steps_offset", "clip_sample", "clip_sample_range", "set_alpha_to_one",
            "rescale_betas_zero_snr",
        ], spacing: .leading
    ) { (c, steps, eta) throws(DiffError) in
        try DDIMSampler(
            c.strides(steps), eta: eta, prediction: c.prediction ?? .epsilon, clipping: c.clipping(default: true))
    }
}
