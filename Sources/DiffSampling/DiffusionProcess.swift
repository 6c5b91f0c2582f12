public import DiffTensor
import Glibc

/// The training process of a discrete diffusion model: how much noise there is at each of its timesteps, and what the network
/// learned to predict.
public struct DiffusionProcess: Sendable, Equatable {
    /// How β grows from its first to its last value.
    public enum BetaSchedule: String, Sendable, CaseIterable {
        case linear
        /// Squares of a linear ramp between the square roots (Stable Diffusion).
        case scaledLinear = "scaled_linear"
        /// ᾱ follows a squared cosine, β at most 0.999 (Nichol and Dhariwal 2021); first and last β have no meaning.
        case squaredCosine = "squaredcos_cap_v2"
    }

    /// How β grows.
    public var betaSchedule: BetaSchedule
    /// β of the first training step.
    public var betaStart: Double
    /// β of the last training step.
    public var betaEnd: Double
    /// Number of training steps.
    public var trainSteps: Int
    /// β of every training step, used instead of the schedule.
    public var trainedBetas: [Double]?
    /// Whether ᾱ is shifted and scaled so that it ends at 0: pure noise at the last timestep (Lin et al. 2023).
    public var endsInNoise = false
    /// What the network predicts.
    public var prediction = PredictionType.epsilon

    /// DiT's process: 1000 steps, β linear from 1e-4 to 0.02.
    public static let dit = DiffusionProcess(.linear, 1e-4, 0.02, trainSteps: 1000)

    /// What some classes of diffusers have by default: β linear from 0.00085 to 0.012.
    static let stableLinear = DiffusionProcess(.linear, 0.00085, 0.012, trainSteps: 1000)
    /// Stable Diffusion's process: 1000 steps, the square root of β linear, β from 0.00085 to 0.012.
    public static let stableDiffusion = DiffusionProcess(.scaledLinear, 0.00085, 0.012, trainSteps: 1000)

    /// A process with β in [betaStart, betaEnd].
    public init(_ betaSchedule: BetaSchedule, _ betaStart: Double, _ betaEnd: Double, trainSteps: Int) {
        (self.betaSchedule, self.betaStart, self.betaEnd, self.trainSteps) = (
            betaSchedule, betaStart, betaEnd, trainSteps
        )
    }

    /// β for every training step, in double precision, before ``endsInNoise`` changes ᾱ.
    func betas() -> [Double] {
        if let trainedBetas { return trainedBetas }
        // torch.linspace and np.linspace include both ends, so the divisor is one less than the count.
        let last = Double(max(1, trainSteps - 1))
        return (0..<max(0, trainSteps)).map { j in
            let at = Double(j) / last
            switch betaSchedule {
            case .linear: return betaStart + (betaEnd - betaStart) * at
            case .scaledLinear:
                let root = betaStart.squareRoot() + (betaEnd.squareRoot() - betaStart.squareRoot()) * at
                return root * root
            case .squaredCosine:
                // ᾱ as a function of u = j / T (equation 17 of the paper; `betas_for_alpha_bar` of diffusers). The offset 0.008 keeps the first
                // β from vanishing; 0.999 keeps the last from being 1, where ᾱ would be 0 and λ infinite.
                func cosine(_ u: Double) -> Double { cos((u + 0.008) / 1.008 * .pi / 2) }
                let ratio = cosine(Double(j + 1) / Double(trainSteps)) / cosine(Double(j) / Double(trainSteps))
                return min(1 - ratio * ratio, 0.999)
            }
        }
    }

    /// ᾱ, the product of 1 - β up to each training step. Throws `invalidArgument` when this is not a diffusion process.
    public func alphasCumulative() throws(DiffError) -> [Double] {
        try check()
        var alphas: [Double] = []
        var product = 1.0
        for beta in betas().each {
            product *= 1 - beta
            alphas.append(product)
        }
        // `rescale_zero_terminal_snr` of diffusers (algorithm 1 of Lin et al. 2023): √ᾱ is shifted so that its last value is 0 and scaled
        // so that its first stays. β are not recomputed: every sampler here starts from ᾱ.
        guard endsInNoise, let first = alphas.first?.squareRoot(), let last = alphas.last?.squareRoot() else {
            return alphas
        }
        return alphas.each.map { alpha in
            let root = (alpha.squareRoot() - last) * (first / (first - last))
            return root * root
        }
    }

    private func check() throws(DiffError) {
        if let trainedBetas {
            guard trainedBetas.count == trainSteps, trainedBetas.each.allSatisfy({ $0 > 0 && $0 < 1 }) else {
                throw DiffError(
                    .invalidArgument,
                    "trained_betas needs \(trainSteps) numbers between 0 and 1, one for each training step; found "
                        + "\(trainedBetas.count)")
            }
        } else if betaSchedule != .squaredCosine {
            guard betaStart > 0, betaEnd < 1, betaStart <= betaEnd else { throw noProcess }
        }
        guard (1...1_000_000).contains(trainSteps) else { throw noProcess }
        guard endsInNoise else { return }
        guard trainSteps > 1 else {
            throw DiffError(.invalidArgument, "rescale_betas_zero_snr needs more than one training step")
        }
        // In a state of pure noise, its noise carries no information about the image.
        guard prediction != .epsilon else {
            throw DiffError(
                .unsupported,
                "rescale_betas_zero_snr needs a model that predicts v or the sample (prediction_type); at the last timestep "
                    + "epsilon is the state itself")
        }
    }

    private var noProcess: DiffError {
        DiffError(
            .invalidArgument, "β from \(betaStart) to \(betaEnd) in \(trainSteps) steps is not a diffusion process")
    }
}
