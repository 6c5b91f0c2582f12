public import DiffTensor
import Glibc

/// Ancestral sampling: each step draws from the posterior of the process (Ho et al. 2020).
///
/// x' = √ᾱ' β / (1 - ᾱ) x0 + √(ᾱ / ᾱ') (1 - ᾱ') / (1 - ᾱ) x + √V z.
public struct DDPMSampler: TransitionSampler {
    /// What V is, in diffusers' words.
    public enum Variance: String, Sendable, CaseIterable {
        /// The posterior's: β (1 - ᾱ') / (1 - ᾱ).
        case small = "fixed_small"
        /// The same by way of its logarithm.
        case smallLog = "fixed_small_log"
        /// β.
        case large = "fixed_large"
        /// Between the two by the network's second half of channels, in the logarithm (Nichol and Dhariwal 2021).
        case learnedRange = "learned_range"
    }

    /// After which steps noise is added.
    public enum NoiseRule: Sendable {
        /// All but the last: the official DiT.
        case beforeLast
        /// Those at a timestep above 0: diffusers.
        case aboveZero
    }

    /// The steps from the noisiest to the cleanest.
    public let transitions: [DiffusionTransition]
    private let variance: Variance
    private let rule: NoiseRule
    private let prediction: PredictionType
    private let clipping: SampleClipping?
    /// The transition that the next evaluation belongs to.
    public var position = 0

    /// A sampler over `transitions`.
    public init(
        _ transitions: [DiffusionTransition], variance: Variance, noise rule: NoiseRule = .aboveZero,
        prediction: PredictionType = .epsilon, clipping: SampleClipping? = nil
    ) {
        (self.transitions, self.variance, self.rule) = (transitions, variance, rule)
        (self.prediction, self.clipping) = (prediction, clipping)
    }

    /// The official DiT's `p_sample` on a respaced process: learned-range variance.
    public init(_ schedule: DiffusionSchedule) {
        self.init(schedule.transitions, variance: .learnedRange, noise: .beforeLast)
    }

    /// The name in statistics.
    public var name: String { "ddpm" }
    /// Whether the network must predict the variance.
    public var needsVariance: Bool { variance == .learnedRange }

    /// The state that follows from an evaluation.
    public mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard let now = transitions.at(position) else { throw exhausted }
        position &+= 1
        let channels = x.shape[1]
        guard variance != .learnedRange || output.shape[1] == 2 &* channels else {
            throw DiffError(
                .unsupported, "DDPM needs a model that learns the variance; this one predicts epsilon only")
        }
        let adds = rule == .beforeLast ? position < transitions.count : now.timestep > 0
        // The official code draws also where it adds nothing; diffusers does not.
        let z = adds || rule == .beforeLast ? try draw() : nil
        var clean = try now.clean(x, output, prediction, run)
        if let clipping { clean = try clipping.apply(clean, run) }
        let rest = 1 - now.alpha
        let mean = try run.combine(
            Float(now.beta * now.previous.squareRoot() / rest), clean,
            Float((1 - now.previous) * (1 - now.beta).squareRoot() / rest), x)
        guard adds, let z else { return SamplerStep(mean, predictedClean: clean) }
        // At the clean image the posterior has no variance; the bound is diffusers'.
        let posterior = max(now.beta * (1 - now.previous) / rest, 1e-20)
        switch variance {
        case .learnedRange:
            let scaled = try run.learnedRangeNoise(
                run.channels(output, channels, channels), z, minLog: Float(log(posterior)), maxLog: Float(log(now.beta))
            )
            return SamplerStep(try run.add(mean, scaled), predictedClean: clean)
        case .small, .smallLog:
            return SamplerStep(try run.combine(1, mean, Float(posterior.squareRoot()), z), predictedClean: clean)
        case .large:
            return SamplerStep(try run.combine(1, mean, Float(now.beta.squareRoot()), z), predictedClean: clean)
        }
    }
}

extension DDPMSampler {
    static let entry = SamplerEntry(
        "ddpm", "DDPMScheduler",
        keys: [
            "timestep_spacing", "steps_offset", "clip_sample", "clip_sample_range", "variance_type",
            "rescale_betas_zero_snr",
        ], spacing: .leading
    ) { (c, steps, _) throws(DiffError) in
        let isRespaced = if case .respaced = steps { true } else { false }
        return DDPMSampler(
            try c.chain(steps), variance: c.variance ?? .small, noise: isRespaced ? .beforeLast : .aboveZero,
            prediction: c.prediction ?? .epsilon,
            clipping: c.clipping(default: true))
    }
}
