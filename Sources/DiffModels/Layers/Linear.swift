public import DiffCheckpoint
public import DiffTensor

/// y = x Wᵀ + b, the weight in the checkpoint's element type; with a low-rank update y = x Wᵀ + b + scale · x Aᵀ Bᵀ.
public struct Linear: Sendable {
    /// What the layer is applied to, which decides how its weights are kept.
    public enum Rows: Sendable {
        /// Tokens of samples: weights are packed once when loaded.
        case tokens
        /// One vector per sample, such as conditioning.
        case vectors
    }

    /// A low-rank update that is learned beside frozen weights (LoRA). A class: most layers have none and need not have room for one.
    final class Update: Sendable {
        /// [rank, inputs] and [outputs, rank]
        let a, b: WeightMatrix
        /// alpha / rank
        let scale: Float

        init(a: WeightMatrix, b: WeightMatrix, scale: Float) {
            (self.a, self.b, self.scale) = (a, b, scale)
        }
    }

    /// [outputs, inputs]
    public let weight: WeightMatrix
    /// [outputs] in f32, or none.
    public let bias: Tensor?
    private let update: Update?

    // Not inlined: networks load many layers in one function, whose frame would hold the temporaries of all.
    /// `weight` [outputs, inputs] and `bias` [outputs] at the scope of `weights`.
    @inline(never)
    public init(
        _ weights: Weights, _ inputs: Int, _ outputs: Int, of rows: Rows, bias: Bool = true
    ) throws(DiffError) {
        switch rows {
        case .tokens: weight = try weights.packed("weight", [outputs, inputs])
        case .vectors: weight = try weights.unpacked(weights.tensor("weight", [outputs, inputs]))
        }
        self.bias = bias ? try weights.vector("bias", outputs) : nil
        update = try weights.lowRank(inputs: inputs, outputs: outputs).map { (factors) throws(DiffError) in
            Update(a: try WeightMatrix(factors.a), b: try WeightMatrix(factors.b), scale: factors.scale)
        }
    }

    /// A layer of weights [outputs, inputs] and of `bias` [outputs] or none.
    public init(weight: WeightMatrix, bias: Tensor?) {
        self.init(weight, bias, nil)
    }

    /// The layers of `parts`, each [width, width] with a bias, as one: queries, keys and values of an attention.
    init(_ weights: Weights, fusing parts: [String], _ width: Int) throws(DiffError) {
        self.init(
            weight: try weights.packed(concatenating: parts.map { "\($0).weight" }, [width, width]),
            bias: try weights.concatenatedVectors(parts.map { "\($0).bias" }, width))
    }

    private init(_ weight: WeightMatrix, _ bias: Tensor?, _ update: Update?) {
        (self.weight, self.bias, self.update) = (weight, bias, update)
    }

    /// activation(x Wᵀ + b), the update included; `x` is [..., inputs].
    public func callAsFunction(
        _ x: Tensor, _ run: Run, _ activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        guard let update else { return try run.linear(x, weight, bias: bias, activation: activation) }
        let base = try run.linear(x, weight, bias: bias)
        let change = try run.linear(run.linear(x, update.a, bias: nil), update.b, bias: nil)
        let sum = try run.combine(1, base, update.scale, change)
        return activation == .none ? sum : try run.activate(sum, activation)
    }

    /// The layer's output where it is computed for all of a network ahead; where another rank has its weights, room of that shape that
    /// nobody reads.
    func ahead(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard weight.isLoaded else { return try run.workspace.take(x.shape.replacingLast(weight.outputs)) }
        return try self(x, run)
    }

    /// The layer that computes only outputs `start ..< start + count` of this one; shares the weights. For a layer of
    /// vectors; throws `internal` for one of tokens.
    public func outputs(_ start: Int, _ count: Int) throws(DiffError) -> Linear {
        let update = try update.map { (whole) throws(DiffError) in
            Update(a: whole.a, b: try whole.b.outputs(start, count), scale: whole.scale)
        }
        let bias = try bias.map { (b) throws(DiffError) in try b.rows(start, count) }
        return Linear(try weight.outputs(start, count), bias, update)
    }
}

extension Linear {
    /// x Wᵀ + b of `x` [batch, n, inputs], written to the tokens from `position` on of `out` [batch, tokens, outputs].
    func callAsFunction(_ x: Tensor, into out: Tensor, at position: Int, _ run: Run) throws(DiffError) {
        try refuseUpdate()
        try run.linear(x, weight, bias: bias, into: out, at: position)
    }

    /// x Wᵀ + b of the tokens `first ..< first + count` of every sample of `x` [batch, tokens, inputs].
    func callAsFunction(_ x: Tensor, tokens first: Int, _ count: Int, _ run: Run) throws(DiffError) -> Tensor {
        try refuseUpdate()
        return try run.linear(x, tokens: first, count, weight, bias: bias)
    }

    private func refuseUpdate() throws(DiffError) {
        guard update == nil else {
            throw DiffError(.unsupported, "low-rank updates of joined streams cannot be learned; merge them first")
        }
    }
}
