import DiffTensor
import Glibc

/// How a flow mixes data and noise: x = α(t) data + σ(t) noise, from noise at t = 0 to data at t = 1.
public enum FlowPath: String, Sendable, CaseIterable {
    /// α = t, σ = 1 - t.
    case linear = "Linear"
    /// α = sin(πt/2), σ = cos(πt/2): the variance is constant.
    case constantVariance = "GVP"
    /// The variance-preserving diffusion with β from 0.1 to 20.
    case diffusion = "VP"

    /// α, σ and their derivatives at `t`.
    public func at(_ t: Double) -> (alpha: Double, sigma: Double, alphaSlope: Double, sigmaSlope: Double) {
        switch self {
        case .linear: return (t, 1 - t, 1, -1)
        case .constantVariance:
            let (s, c) = (sin(.pi * t / 2), cos(.pi * t / 2))
            return (s, c, .pi / 2 * c, -.pi / 2 * s)
        case .diffusion:
            let rest = 1 - t
            let alpha = exp(-0.25 * rest * rest * 19.9 - 0.5 * rest * 0.1)
            let slope = alpha * (0.5 * rest * 19.9 + 0.05)
            let sigma = max(0, 1 - alpha * alpha).squareRoot()
            return (alpha, sigma, slope, sigma > 0 ? -alpha * slope / sigma : 0)
        }
    }
}

/// What a network of a flow predicts.
public enum FlowPrediction: String, Sendable, CaseIterable {
    /// dx/dt
    case velocity
    /// ∇ ln p(x)
    case score
    /// The noise in x.
    case noise
}

/// A flow as its network was trained: path and prediction.
public struct FlowProcess: Sendable, Equatable {
    /// How data and noise are mixed.
    public var path: FlowPath
    /// What the network predicts.
    public var prediction: FlowPrediction

    /// SiT's: the linear path, velocities.
    public static let sit = FlowProcess(path: .linear, prediction: .velocity)

    /// A flow.
    public init(path: FlowPath, prediction: FlowPrediction) { (self.path, self.prediction) = (path, prediction) }

    /// Where sampling begins and ends. At the ends themselves scores are infinite, and so is VP's slope.
    public var ends: (first: Double, last: Double) {
        let margin = 1e-3
        switch (path, prediction) {
        case (.diffusion, _): return (margin, 1 - margin)
        case (_, .velocity): return (0, 1)
        default: return (margin, 1 - margin)
        }
    }

    /// dx/dt that `output` [n, C or more, h, w] means at `x` [n, C, h, w] and `t`.
    func velocity(_ x: Tensor, _ output: Tensor, _ t: Double, _ run: Run) throws(DiffError) -> Tensor {
        let output = try run.channels(output, 0, x.shape[1])
        guard prediction != .velocity else { return output }
        let p = path.at(t)
        // v = r x + (r σ² - σ σ') s with r = α' / α; a network of noise gives s = -ε / σ.
        let ratio = p.alphaSlope / p.alpha
        let gain = ratio * p.sigma * p.sigma - p.sigma * p.sigmaSlope
        return try run.combine(Float(ratio), x, Float(prediction == .score ? gain : -gain / p.sigma), output)
    }

    /// ∇ ln p(x) for the same output.
    func score(_ x: Tensor, _ output: Tensor, _ t: Double, _ run: Run) throws(DiffError) -> Tensor {
        let output = try run.channels(output, 0, x.shape[1])
        let p = path.at(t)
        switch prediction {
        case .score: return output
        case .noise: return try run.scaled(output, Float(-1 / p.sigma))
        case .velocity:
            // s = (α/α' v - x) / (σ² - α/α' σ' σ)
            let ratio = p.alpha / p.alphaSlope
            let divisor = p.sigma * p.sigma - ratio * p.sigmaSlope * p.sigma
            return try run.combine(Float(ratio / divisor), output, Float(-1 / divisor), x)
        }
    }
}
