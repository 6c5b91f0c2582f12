public import DiffCheckpoint
public import DiffTensor

/// y = x Wᵀ + b, the weight in the checkpoint's element type.
public struct Linear: Sendable {
    /// [outputs, inputs]
    public let weight: Tensor
    /// [outputs] in f32, or none.
    public let bias: Tensor?

    /// `weight` [outputs, inputs] and `bias` [outputs] at the scope of `weights`.
    public init(
        _ weights: Weights, _ inputs: Int, _ outputs: Int, bias: Bool = true
    ) throws(DiffError) {
        self.weight = try weights.tensor("weight", [outputs, inputs])
        self.bias = bias ? try weights.vector("bias", outputs) : nil
    }

    /// A layer of these tensors.
    public init(weight: Tensor, bias: Tensor?) {
        self.weight = weight
        self.bias = bias
    }

    /// activation(x Wᵀ + b); `x` is [..., inputs].
    public func callAsFunction(
        _ x: Tensor, _ run: Run, _ activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        try run.linear(x, weight, bias: bias, activation: activation)
    }

    /// The layer that computes only outputs `start ..< start + count` of this one; shares the weights.
    public func outputs(_ start: Int, _ count: Int) throws(DiffError) -> Linear {
        try Linear(
            weight: weight.rows(start, count), bias: bias.map { (b) throws(DiffError) in try b.rows(start, count) })
    }
}
