import DiffTensor
import Glibc

/// What a network says about a state x = x0 + σ ε, whose input is scaled by 1 / √(σ² + 1).
struct SigmaLevel {
    let sigma: Double

    /// What the state is multiplied by for the network.
    var inputScale: Double { 1 / (sigma * sigma + 1).squareRoot() }

    /// The clean image that `output` [n, C or more, h, w] means for `x` [n, C, h, w].
    func clean(_ x: Tensor, _ output: Tensor, _ prediction: PredictionType, _ run: Run) throws(DiffError) -> Tensor {
        let output = try run.channels(output, 0, x.shape[1])
        switch prediction {
        case .epsilon: return try run.combine(1, x, Float(-sigma), output)
        case .velocity:
            let squared = sigma * sigma + 1
            return try run.combine(Float(1 / squared), x, Float(-sigma / squared.squareRoot()), output)
        case .sample: return output
        }
    }

    /// dx/dσ = (x - x0) / σ.
    func derivative(_ x: Tensor, _ clean: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.combine(Float(1 / sigma), x, Float(-1 / sigma), clean)
    }

    /// clean + σ noise.
    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.combine(1, clean, Float(sigma), noise)
    }
}

/// The same state in the solvers' terms, x = a x0 + S ε with a² + S² = 1: what the network sees.
struct SolverLevel {
    let sigma: Double

    /// a
    var alpha: Double { 1 / (sigma * sigma + 1).squareRoot() }
    /// S
    var deviation: Double { sigma * alpha }
    /// λ = ln (a / S), ∞ at σ = 0.
    var lambda: Double { -log(sigma) }

    /// The clean image that `output` means for `x`.
    func clean(_ x: Tensor, _ output: Tensor, _ prediction: PredictionType, _ run: Run) throws(DiffError) -> Tensor {
        let output = try run.channels(output, 0, x.shape[1])
        switch prediction {
        case .epsilon: return try run.combine(Float(1 / alpha), x, Float(-sigma), output)
        case .velocity: return try run.combine(Float(alpha), x, Float(-deviation), output)
        case .sample: return output
        }
    }

    /// The noise ε that `output` means for `x`.
    func noise(_ x: Tensor, _ output: Tensor, _ prediction: PredictionType, _ run: Run) throws(DiffError) -> Tensor {
        let output = try run.channels(output, 0, x.shape[1])
        switch prediction {
        case .epsilon: return output
        case .velocity: return try run.combine(Float(alpha), output, Float(deviation), x)
        case .sample: return try run.combine(Float(1 / deviation), x, Float(-alpha / deviation), output)
        }
    }

    /// a clean + S noise.
    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.combine(Float(alpha), clean, Float(deviation), noise)
    }
}
