public import DiffTensor
import Glibc

/// How one denoising step turns a prediction into the next state.
public enum DiffusionMethod: Sendable, Equatable {
    /// Denoising diffusion implicit models (Song et al. 2021); `eta` 0 is deterministic, 1 adds the posterior's noise.
    case ddim(eta: Double)
    /// Ancestral sampling with the learned-range variance of improved diffusion (`p_sample`).
    case ddpm

    /// Whether steps add noise.
    public var isStochastic: Bool {
        switch self {
        case .ddim(let eta): eta != 0
        case .ddpm: true
        }
    }
}

/// The state after a step and the clean image it was heading for.
public struct DiffusionStepResult: Sendable {
    /// [batch, channels, h, w]
    public let state: Tensor
    /// x̂0, same shape.
    public let predictedClean: Tensor
}

extension DiffusionSchedule {
    /// One step at `index`: `x` [batch, C, h, w], `prediction` [batch, C or 2C, h, w] (epsilon, then variance), `noise` like `x`
    /// or nil. Float32 in the order of operations of the official code.
    ///
    /// Throws `unsupported` when `method` is DDPM and the prediction holds no variance.
    public func step(
        _ index: Int, _ method: DiffusionMethod, x: Tensor, prediction: Tensor, noise: Tensor?, _ run: Run
    ) throws(DiffError) -> DiffusionStepResult {
        let channels = x.shape[1]
        let epsilon = try run.channels(prediction, 0, channels)
        let recip = Float((1 / alphasCumulative[index]).squareRoot())
        let recipMinus1 = Float((1 / alphasCumulative[index] - 1).squareRoot())
        let clean = try run.combine(recip, x, -recipMinus1, epsilon)
        switch method {
        case .ddim(let eta):
            let state = try ddim(index, eta, x: x, clean: clean, recip, recipMinus1, noise, run)
            return DiffusionStepResult(state: state, predictedClean: clean)
        case .ddpm:
            guard prediction.shape[1] == 2 * channels else {
                throw DiffError(
                    .unsupported, "DDPM needs a model that learns the variance; this one predicts epsilon only")
            }
            let variance = try run.channels(prediction, channels, channels)
            let mean = try run.combine(Float(posteriorMean0[index]), clean, Float(posteriorMean1[index]), x)
            guard index > 0, let noise else { return DiffusionStepResult(state: mean, predictedClean: clean) }
            let scaled = try run.learnedRangeNoise(
                variance, noise, minLog: Float(posteriorLogVariance[index]), maxLog: Float(log(betas[index])))
            return DiffusionStepResult(state: try run.add(mean, scaled), predictedClean: clean)
        }
    }

    private func ddim(
        _ index: Int, _ eta: Double, x: Tensor, clean: Tensor, _ recip: Float, _ recipMinus1: Float, _ noise: Tensor?,
        _ run: Run
    ) throws(DiffError) -> Tensor {
        // ε is derived again from x̂0, as the official code does.
        let epsilon = try run.combine(recip / recipMinus1, x, -1 / recipMinus1, clean)
        let now = Float(alphasCumulative[index])
        let before = Float(alphasCumulativePrevious[index])
        let sigma = Float(eta) * ((1 - before) / (1 - now)).squareRoot() * (1 - now / before).squareRoot()
        let direction = max(0, 1 - before - sigma * sigma).squareRoot()
        let mean = try run.combine(before.squareRoot(), clean, direction, epsilon)
        guard index > 0, sigma != 0, let noise else { return mean }
        return try run.combine(1, mean, sigma, noise)
    }
}
