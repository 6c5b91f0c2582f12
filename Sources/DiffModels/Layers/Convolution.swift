import DiffCheckpoint
import DiffTensor

/// A 2-d convolution.
struct Convolution: Sendable {
    let weight: Tensor
    let bias: Tensor?
    private(set) var window: ConvolutionWindow
    private let method: ConvolutionMethod
    private let precision: Precision
    private let name: String

    /// `weight` [outputs, inputs, kernel, kernel] and, where it has one, `bias` at the scope of `weights`.
    init(
        _ weights: Weights, _ inputs: Int, _ outputs: Int, kernel: Int, window: ConvolutionWindow, bias: Bool = true
    ) throws(DiffError) {
        weight = try weights.tensor("weight", [outputs, inputs, kernel, kernel])
        self.bias = bias ? try weights.vector("bias", outputs) : nil
        self.window = window
        (method, precision, name) = (weights.options.convolution, weights.options.precision, weights.path)
    }

    /// The same weights over other windows.
    func over(_ window: ConvolutionWindow) -> Convolution {
        var other = self
        other.window = window
        return other
    }

    func callAsFunction(_ x: Tensor, _ run: Run, adding residual: Tensor? = nil) throws(DiffError) -> Tensor {
        try run.convolution(
            x, weight, bias: bias, window: window, method: method, precision: precision,
            ConvolutionExtras(residual: residual), name: name)
    }

    /// The convolution of `norm` and `activation` of `x`, plus one vector per sample and a tensor of the output's shape: what a residual
    /// block does, without passes over memory of their own.
    func callAsFunction(
        _ x: Tensor, _ run: Run, norm: GroupNorm, _ activation: Activation = .silu,
        addingPerChannel vectors: RowVectors? = nil, adding residual: Tensor? = nil
    ) throws(DiffError) -> Tensor {
        try run.convolution(
            x, weight, bias: bias, window: window, method: method, precision: precision,
            ConvolutionExtras(norm: norm.with(activation), vectors: vectors, residual: residual), name: name)
    }

    /// The convolution of SiLU of `norm` of `x`, whose `factors` were found before.
    func callAsFunction(_ x: Tensor, _ run: Run, norm: GroupNorm, factors: Tensor) throws(DiffError) -> Tensor {
        var extras = ConvolutionExtras(norm: norm.with(.silu))
        extras.factors = factors
        return try run.convolution(
            x, weight, bias: bias, window: window, method: method, precision: precision, extras)
    }

    /// The same of `norm` of `x`, plus `residual`, whose place the result takes.
    func callAsFunction(_ x: Tensor, _ run: Run, norm: GroupNorm, replacing residual: Tensor) throws(DiffError)
        -> Tensor
    {
        var extras = ConvolutionExtras(norm: norm.with(.silu), residual: residual)
        extras.replacesResidual = true
        return try run.convolution(
            x, weight, bias: bias, window: window, method: method, precision: precision, extras)
    }

    /// The convolution of SiLU of `norm` of `x`, the norm being a module of its own at `site`.
    func callAsFunction(_ x: Tensor, _ run: Run, norm: GroupNorm, at site: Site) throws(DiffError) -> Tensor {
        guard !run.isAsked(site) else {
            let normed = try run.at(site, x) { () throws(DiffError) in try norm(x, run) }
            return try self(run.activate(normed, .silu), run)
        }
        return try self(run.at(site, x) { x }, run, norm: norm)
    }
}

/// Group normalisation with an optional activation.
struct GroupNorm: Sendable {
    let weight, bias: Tensor
    let groups: Int
    let eps: Float

    /// `weight` and `bias` [channels] at the scope of `weights`. The autoencoders of Stable Diffusion use 1e-6 everywhere.
    init(_ weights: Weights, _ channels: Int, groups: Int, eps: Float = 1e-6) throws(DiffError) {
        weight = try weights.vector("weight", channels)
        bias = try weights.vector("bias", channels)
        (self.groups, self.eps) = (groups, eps)
    }

    func callAsFunction(
        _ x: Tensor, _ run: Run, _ activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        try run.groupNorm(x, with(activation))
    }

    func with(_ activation: Activation) -> GroupNormalisation {
        GroupNormalisation(weight: weight, bias: bias, groups: groups, eps: eps, activation: activation)
    }
}
