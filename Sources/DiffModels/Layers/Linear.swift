public import DiffCheckpoint
public import DiffTensor

/// y = x Wᵀ + b, the weight in the checkpoint's element type.
public struct Linear: Sendable {
    /// What the layer is applied to, which decides how its weights are kept.
    public enum Rows: Sendable {
        /// Tokens of samples: weights are packed once when loaded.
        case tokens
        /// One vector per sample, such as conditioning.
        case vectors
    }

    /// [outputs, inputs]
    public let weight: WeightMatrix
    /// [outputs] in f32, or none.
    public let bias: Tensor?

    /// `weight` [outputs, inputs] and `bias` [outputs] at the scope of `weights`.
    public init(
        _ weights: Weights, _ inputs: Int, _ outputs: Int, of rows: Rows, bias: Bool = true
    ) throws(DiffError) {
        switch rows {
        case .tokens: weight = try weights.packed("weight", [outputs, inputs])
        case .vectors: weight = try WeightMatrix(weights.tensor("weight", [outputs, inputs]))
        }
        self.bias = bias ? try weights.vector("bias", outputs) : nil
    }

    /// A layer of weights [outputs, inputs] and of `bias` [outputs] or none.
    public init(weight: WeightMatrix, bias: Tensor?) {
        (self.weight, self.bias) = (weight, bias)
    }

    /// activation(x Wᵀ + b); `x` is [..., inputs].
    public func callAsFunction(
        _ x: Tensor, _ run: Run, _ activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        try run.linear(x, weight, bias: bias, activation: activation)
    }

    /// The layer that computes only outputs `start ..< start + count` of this one; shares the weights. For a layer of
    /// vectors; throws `internal` for one of tokens.
    public func outputs(_ start: Int, _ count: Int) throws(DiffError) -> Linear {
        try Linear(
            weight: weight.outputs(start, count),
            bias: bias.map { (b) throws(DiffError) in try b.rows(start, count) })
    }
}
