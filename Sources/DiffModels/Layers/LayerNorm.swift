import DiffCheckpoint
import DiffTensor

/// Layer normalisation over the last axis with weight and bias.
struct LayerNorm: Sendable {
    let weight, bias: Tensor
    let eps: Float

    init(_ weights: Weights, _ width: Int, eps: Float) throws(DiffError) {
        weight = try weights.vector("weight", width)
        bias = try weights.vector("bias", width)
        self.eps = eps
    }

    func callAsFunction(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.layerNorm(x, weight: weight, bias: bias, eps: eps)
    }
}
