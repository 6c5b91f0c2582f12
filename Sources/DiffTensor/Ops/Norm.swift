import CKernels

extension Run {
    /// LayerNorm over the last axis, without parameters or with `weight` and `bias` of its length, then per sample
    /// `h (1 + scale) + shift` (adaLN).
    ///
    /// `x` is [samples, ..., width]; `shift` and `scale` hold one vector of `width` per sample.
    public func normModulate(
        _ x: Tensor, weight: Tensor? = nil, bias: Tensor? = nil, shift: RowVectors, scale: RowVectors, eps: Float
    ) throws(DiffError) -> Tensor {
        let (samples, width) = (x.shape[0], x.shape.last)
        guard shift.width == width, scale.width == width, shift.stride == scale.stride,
            shift.tensor.shape[0] == samples, scale.tensor.shape[0] == samples,
            (weight?.shape.count ?? width) == width, (bias?.shape.count ?? width) == width
        else {
            throw DiffError(.shape, "modulated norm: input \(x.shape), shift and scale of \(shift.tensor.shape)")
        }
        return try layerNorm(x, weight: weight, bias: bias, shift: shift, scale: scale, eps: eps)
    }

    /// LayerNorm over the last axis with optional `weight` and `bias` of that length.
    public func layerNorm(_ x: Tensor, weight: Tensor?, bias: Tensor?, eps: Float) throws(DiffError) -> Tensor {
        let width = x.shape.last
        guard (weight?.shape.count ?? width) == width, (bias?.shape.count ?? width) == width else {
            throw DiffError(.shape, "layer norm: input \(x.shape) with \(weight?.shape.count ?? 0) weights")
        }
        return try layerNorm(x, weight: weight, bias: bias, shift: nil, scale: nil, eps: eps)
    }

    private func layerNorm(
        _ x: Tensor, weight: Tensor?, bias: Tensor?, shift: RowVectors?, scale: RowVectors?, eps: Float
    ) throws(DiffError) -> Tensor {
        let out = try workspace.take(x.shape)
        count(flops: 8 * Double(x.shape.count))
        let norm = LayerNorm(x: x, weight: weight, bias: bias, shift: shift, scale: scale, eps: eps)
        if isLive {
            var arguments = unsafe norm.arguments
            unsafe arguments.out = out.floats
            unsafe ck_layer_norm(poolHandle, &arguments)
        }
        guard let tape, norm.isTracked else { return out }
        return tape.record(out) { (g, run) throws(DiffError) in try run.layerNormBackward(g, norm) }
    }

    /// Group norm of [batch, channels, h, w] with `weight` and `bias` of `channels`, then `activation`.
    public func groupNorm(
        _ x: Tensor, weight: Tensor, bias: Tensor, groups: Int, eps: Float, activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        try groupNorm(
            x, GroupNormalisation(weight: weight, bias: bias, groups: groups, eps: eps, activation: activation))
    }

    /// `norm` of [batch, channels, h, w]. A gradient passes to `x`, none to the weights.
    public func groupNorm(_ x: Tensor, _ norm: GroupNormalisation) throws(DiffError) -> Tensor {
        for weights in [norm.weight, norm.bias] { try refuseTracked(weights, "a group norm's weights") }
        guard let tape, x.isTracked else { return try groupNormForward(x, norm) }
        return try tape.record(groupNormForward(x, norm)) { (g, run) throws(DiffError) in
            try run.groupNormBackward(g, x, norm)
        }
    }

    private func groupNormForward(_ x: Tensor, _ norm: GroupNormalisation) throws(DiffError) -> Tensor {
        var arguments = try unsafe groupNormArguments(x, norm)
        let out = try workspace.take(x.shape)
        count(flops: 8 * Double(x.shape.count))
        guard isLive else { return out }
        unsafe arguments.out = out.floats
        unsafe ck_group_norm(poolHandle, &arguments)
        return out
    }

    /// What `norm` does to each channel of `x`, [batch, channels, 3], for a convolution that applies it; the activation aside.
    func groupNormFactors(_ x: Tensor, _ norm: GroupNormalisation) throws(DiffError) -> Tensor {
        var arguments = try unsafe groupNormArguments(x, norm)
        let factors = try workspace.take(Shape(x.shape[0], x.shape[1], 3))
        count(flops: 8 * Double(x.shape.count))
        guard isLive, let to = unsafe factors.floats else { return factors }
        unsafe ck_group_norm_factors(poolHandle, &arguments, to)
        return factors
    }

    func groupNormArguments(
        _ x: Tensor, _ norm: GroupNormalisation
    ) throws(DiffError) -> ck_group_norm_args {
        let (channels, groups) = (x.shape[1], norm.groups)
        guard x.shape.rank >= 2, groups > 0, channels % groups == 0, norm.weight.shape.count == channels,
            norm.bias.shape.count == channels
        else {
            throw DiffError(
                .shape, "group norm: input \(x.shape) in \(groups) groups with \(norm.weight.shape.count) weights")
        }
        var arguments = unsafe ck_group_norm_args()
        unsafe arguments.x = UnsafePointer(x.floats)
        unsafe arguments.weight = UnsafePointer(norm.weight.floats)
        unsafe arguments.bias = UnsafePointer(norm.bias.floats)
        unsafe (arguments.batch, arguments.channels) = (Int64(x.shape[0]), Int64(channels))
        unsafe arguments.area = Int64(x.shape.count / max(1, x.shape[0] &* channels))
        unsafe arguments.groups = Int64(groups)
        unsafe arguments.eps = norm.eps
        unsafe arguments.act = norm.activation.rawValue
        return unsafe arguments
    }
}

/// A group norm and the activation behind it.
public struct GroupNormalisation {
    /// [channels]
    public var weight, bias: Tensor
    /// Groups that the channels are divided into, each normalised by itself.
    public var groups: Int
    /// Added to the variance.
    public var eps: Float
    /// Applied to the result.
    public var activation: Activation

    /// All of them.
    public init(weight: Tensor, bias: Tensor, groups: Int, eps: Float, activation: Activation = .none) {
        (self.weight, self.bias, self.groups) = (weight, bias, groups)
        (self.eps, self.activation) = (eps, activation)
    }
}
