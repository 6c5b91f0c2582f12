public import DiffTensor
import Glibc

/// The training process of a discrete diffusion model.
public struct DiffusionProcess: Sendable, Equatable {
    /// How β grows from its first to its last value.
    public enum BetaSchedule: String, Sendable, CaseIterable {
        case linear
        /// Squares of a linear ramp between the square roots (Stable Diffusion).
        case scaledLinear = "scaled_linear"
    }

    /// How β grows.
    public var betaSchedule: BetaSchedule
    /// β of the first training step.
    public var betaStart: Double
    /// β of the last training step.
    public var betaEnd: Double
    /// Number of training steps.
    public var trainSteps: Int

    /// DiT's process: 1000 steps, β linear from 1e-4 to 0.02.
    public static let dit = DiffusionProcess(.linear, 1e-4, 0.02, trainSteps: 1000)

    /// A process with β in [betaStart, betaEnd].
    public init(_ betaSchedule: BetaSchedule, _ betaStart: Double, _ betaEnd: Double, trainSteps: Int) {
        (self.betaSchedule, self.betaStart, self.betaEnd, self.trainSteps) = (
            betaSchedule, betaStart, betaEnd, trainSteps
        )
    }

    /// β for every training step, in double precision.
    func betas() -> [Double] {
        let last = Double(max(1, trainSteps - 1))
        return (0..<max(0, trainSteps)).map { j in
            let at = Double(j) / last
            switch betaSchedule {
            case .linear: return betaStart + (betaEnd - betaStart) * at
            case .scaledLinear:
                let root = betaStart.squareRoot() + (betaEnd.squareRoot() - betaStart.squareRoot()) * at
                return root * root
            }
        }
    }
}

/// A diffusion process respaced to the timesteps that a sampler visits: index 0 is the cleanest.
///
/// All tables are in double precision and are rounded to float32 where they are used. Source: `SpacedDiffusion` and
/// `GaussianDiffusion` of the official DiT.
public struct DiffusionSchedule: Sendable {
    /// Original timestep of each index: what the network is told.
    public let timesteps: [Int]
    /// β of each index.
    public let betas: [Double]
    /// Product of 1 - β up to each index.
    public let alphasCumulative: [Double]
    /// ᾱ of the next cleaner index; 1 before the first.
    public let alphasCumulativePrevious: [Double]
    /// ln of the posterior variance, the first entry replaced by the second (the variance there is 0).
    public let posteriorLogVariance: [Double]
    /// Posterior mean = posteriorMean0 · x̂0 + posteriorMean1 · x.
    public let posteriorMean0: [Double]
    /// Weight of x in the posterior mean.
    public let posteriorMean1: [Double]

    /// Number of steps.
    public var count: Int { timesteps.count }

    /// `process` on the timesteps of `spacing`. Throws `invalidArgument`.
    public init(_ process: DiffusionProcess, _ spacing: TimestepSpacing) throws(DiffError) {
        guard (1...1_000_000).contains(process.trainSteps), process.betaStart > 0, process.betaEnd < 1,
            process.betaStart <= process.betaEnd
        else {
            throw DiffError(
                .invalidArgument,
                "β from \(process.betaStart) to \(process.betaEnd) in \(process.trainSteps) steps is no diffusion process"
            )
        }
        let kept = try spacing.timesteps(of: process.trainSteps)
        var full: [Double] = []
        var product = 1.0
        for beta in process.betas() {
            product *= 1 - beta
            full.append(product)
        }
        // β' from the kept ᾱ, then ᾱ' from β' again: the official order, which differs in the last bits from reusing ᾱ.
        var betas: [Double] = []
        var previous = 1.0
        for timestep in kept {
            betas.append(1 - full[timestep] / previous)
            previous = full[timestep]
        }
        var cumulative: [Double] = []
        product = 1
        for beta in betas {
            product *= 1 - beta
            cumulative.append(product)
        }
        let before = [1.0] + cumulative.dropLast()
        let variance = betas.indices.map { betas[$0] * (1 - before[$0]) / (1 - cumulative[$0]) }
        posteriorLogVariance = variance.indices.map { log(variance[$0 == 0 ? min(1, variance.count - 1) : $0]) }
        posteriorMean0 = betas.indices.map { betas[$0] * before[$0].squareRoot() / (1 - cumulative[$0]) }
        posteriorMean1 = betas.indices.map { (1 - before[$0]) * (1 - betas[$0]).squareRoot() / (1 - cumulative[$0]) }
        (timesteps, self.betas, alphasCumulative, alphasCumulativePrevious) = (kept, betas, cumulative, before)
    }
}
