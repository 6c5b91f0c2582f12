public import DiffTensor
import Glibc

/// A diffusion process respaced to the timesteps that a sampler visits: index 0 is the cleanest.
///
/// All tables are in double precision and are rounded to float32 where they are used, as in the source: `SpacedDiffusion` (respace.py)
/// and `GaussianDiffusion` (gaussian_diffusion.py) of the official DiT, which keep NumPy float64 arrays.
public struct DiffusionSchedule: Sendable {
    /// Original timestep of each index. The network receives this, never the index: it was trained on the full process.
    public let timesteps: [Int]
    /// β of each index.
    public let betas: [Double]
    /// Product of 1 - β up to each index.
    public let alphasCumulative: [Double]
    /// ᾱ of the next cleaner index; 1 before the first.
    public let alphasCumulativePrevious: [Double]
    /// ln of the posterior variance. ᾱ before the first index is 1, so the variance there is 0 and its logarithm -∞: as in the source
    /// the first entry is replaced by the second (`posterior_log_variance_clipped`). No noise is added at that
    /// index, so only the loss sees it.
    public let posteriorLogVariance: [Double]
    /// Posterior mean = posteriorMean0 · x̂0 + posteriorMean1 · x: equation 7 of Ho et al. 2020.
    public let posteriorMean0: [Double]
    /// Weight of x in the posterior mean.
    public let posteriorMean1: [Double]

    /// Number of steps.
    public var count: Int { timesteps.count }

    /// `process` on the timesteps of `spacing`. Throws `invalidArgument`.
    public init(_ process: DiffusionProcess, _ spacing: TimestepSpacing) throws(DiffError) {
        let full = try process.alphasCumulative()
        let kept = try spacing.timesteps(of: process.trainSteps)
        // β' = 1 - ᾱ / ᾱ of the kept timestep before, so that the respaced process has the same marginals at the kept timesteps. ᾱ' is
        // then multiplied up from β' again: the official order, which differs in the last bits from reusing ᾱ.
        var betas: [Double] = []
        var previous = 1.0
        for timestep in kept {
            betas.append(1 - full[timestep] / previous)
            previous = full[timestep]
        }
        var cumulative: [Double] = []
        var product = 1.0
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

extension DiffusionSchedule {
    /// The steps of a sampler from the noisiest to the cleanest, which ends at the clean image.
    public var transitions: [DiffusionTransition] {
        Indices(below: count).map { executed in
            let index = count &- 1 &- executed
            return DiffusionTransition(
                timestep: timesteps.at(index) ?? 0, alpha: alphasCumulative.at(index) ?? 1,
                previous: alphasCumulativePrevious.at(index) ?? 1, beta: betas.at(index) ?? 0)
        }
    }
}
