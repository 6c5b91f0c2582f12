import CKernels

/// What a convolution does beside its sums, each optional.
public struct ConvolutionExtras {
    /// The input is normalised first, without a pass of its own where the method allows.
    public var norm: GroupNormalisation?
    /// What the norm does to each channel, where that is not found in the input: see ``Run/factors(_:_:)``.
    public var factors: Tensor?
    /// One vector of the outputs' width per sample, added to each of its pixels.
    public var vectors: RowVectors?
    /// A tensor of the output's shape, added to it.
    public var residual: Tensor?
    /// Whether the result takes the residual's place: nobody else may need that.
    public var replacesResidual = false

    /// Those given.
    public init(norm: GroupNormalisation? = nil, vectors: RowVectors? = nil, residual: Tensor? = nil) {
        (self.norm, self.vectors, self.residual) = (norm, vectors, residual)
    }

    var isTracked: Bool { vectors?.tensor.isTracked == true || residual?.isTracked == true }
}

extension Run {
    /// Convolution of [batch, in, h, w] with `weight` [out, in, kh, kw] in any element type and `bias` [out]. Gradients pass to `x` and to
    /// what is added, none to the weights. A direct one multiplies in `precision`, transforms in f32. `name` is what a census calls it; without
    /// one it is not counted.
    public func convolution(
        _ x: Tensor, _ weight: Tensor, bias: Tensor?, window: ConvolutionWindow, method: ConvolutionMethod = .auto,
        precision: Precision = .f32, _ extras: ConvolutionExtras = ConvolutionExtras(), name: String? = nil
    ) throws(DiffError) -> Tensor {
        try refuseTracked(weight, "a convolution's weights")
        guard let tape, x.isTracked || extras.isTracked else {
            return try convolved(x, weight, bias: bias, window, method, precision, extras, name: name)
        }
        guard extras.factors == nil, !extras.replacesResidual else {
            throw DiffError(.unsupported, "no gradient passes through a convolution of pieces")
        }
        // The norm has a way back of its own.
        if let norm = extras.norm {
            var others = extras
            others.norm = nil
            return try convolution(
                groupNorm(x, norm), weight, bias: bias, window: window, method: method, precision: precision, others,
                name: name)
        }
        return try tape.record(convolved(x, weight, bias: bias, window, method, precision, extras, name: name)) {
            (g, run) throws(DiffError) in
            try run.convolutionBackward(g, x, weight, window, method, extras)
        }
    }

    func convolved(
        _ x: Tensor, _ weight: Tensor, bias: Tensor?, _ window: ConvolutionWindow, _ method: ConvolutionMethod,
        _ precision: Precision, _ extras: ConvolutionExtras, name: String? = nil
    ) throws(DiffError) -> Tensor {
        let outShape = try Self.shape(x, weight, bias, window)
        var arguments = unsafe ck_conv2d_args()
        unsafe (arguments.batch, arguments.in_channels) = (Int64(x.shape[0]), Int64(x.shape[1]))
        unsafe (arguments.h, arguments.width) = (Int64(x.shape[2]), Int64(x.shape[3]))
        unsafe (arguments.out_channels, arguments.out_h, arguments.out_w) = (
            Int64(outShape[1]), Int64(outShape[2]), Int64(outShape[3])
        )
        unsafe (arguments.kh, arguments.kw) = (Int64(weight.shape[2]), Int64(weight.shape[3]))
        unsafe (arguments.stride, arguments.upsample) = (Int64(window.stride), Int64(window.upsample))
        unsafe (arguments.pad_top, arguments.pad_left) = (Int64(window.top), Int64(window.left))
        unsafe arguments.dtype = weight.dtype.rawValue
        unsafe arguments.precision = precision.factors
        if method != .direct { unsafe arguments.form = ck_conv2d_form(&arguments, method == .winograd ? 1 : 0) }
        if let census, let name { unsafe census.note(name, arguments, method, outShape) }

        // The direct form meets each pixel nine times: the norm is worth a pass of its own there.
        let isDirect = unsafe arguments.form == Int32(CK_CONV_DIRECT)
        let input = if isDirect, let norm = extras.norm { try normed(x, norm, extras.factors) } else { x }
        let factors =
            if !isDirect, let norm = extras.norm { try factors(x, norm, extras.factors) } else { nil as Tensor? }

        if let residual = extras.residual, residual.shape != outShape {
            throw DiffError(.shape, "convolution: a residual of \(residual.shape) for an output of \(outShape)")
        }
        let out =
            if extras.replacesResidual, let residual = extras.residual { residual } else {
                try workspace.take(outShape)
            }
        if let vectors = extras.vectors, vectors.width != outShape[1] || vectors.tensor.shape[0] != outShape[0] {
            throw DiffError(.shape, "convolution: vectors of \(vectors.tensor.shape) for an output of \(outShape)")
        }
        let taps = weight.shape[2] &* weight.shape[3]
        count(flops: 2 * Double(outShape.count) * Double(x.shape[1] &* taps))
        let scratch = try scratch(unsafe ck_conv2d_scratch(Int32(clamping: threads), &arguments))
        guard isLive else { return out }
        guard unsafe weight.raw != nil else { throw Self.notLoaded("a convolution") }
        unsafe arguments.x = UnsafePointer(input.floats)
        unsafe arguments.w = UnsafeRawPointer(weight.raw)
        unsafe arguments.bias = bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.add = extras.residual.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.out = out.floats
        unsafe arguments.norm = factors.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.act = extras.norm?.activation.rawValue ?? Activation.none.rawValue
        unsafe arguments.vectors = extras.vectors.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.vector_stride = Int64(extras.vectors?.stride ?? 0)
        unsafe arguments.scratch = scratch?.base
        unsafe ck_conv2d(poolHandle, &arguments)
        return out
    }

    private func normed(_ x: Tensor, _ norm: GroupNormalisation, _ known: Tensor?) throws(DiffError) -> Tensor {
        if let known { try groupNorm(x, norm, factors: known) } else { try groupNorm(x, norm) }
    }

    private func factors(_ x: Tensor, _ norm: GroupNormalisation, _ known: Tensor?) throws(DiffError) -> Tensor {
        guard let known else { return try groupNormFactors(x, norm) }
        guard known.shape == (try Shape(x.shape[0], x.shape[1], 3)) else {
            throw DiffError(.shape, "convolution: factors \(known.shape) of a norm of \(x.shape)")
        }
        return known
    }

    /// The shape of the output. Throws `shape` when input, weights and window do not go together.
    private static func shape(
        _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, _ window: ConvolutionWindow
    ) throws(DiffError) -> Shape {
        let (kh, kw) = (weight.shape[2], weight.shape[3])
        guard x.shape.rank == 4, weight.shape.rank == 4, weight.shape[1] == x.shape[1], window.stride > 0,
            (1...2).contains(window.upsample), kh > 0, kw > 0,
            (bias?.shape.count ?? weight.shape[0]) == weight.shape[0],
            let outH = extent(x.shape[2] &* window.upsample, window.top, window.bottom, kh, window.stride),
            let outW = extent(x.shape[3] &* window.upsample, window.left, window.right, kw, window.stride)
        else { throw DiffError(.shape, "convolution: input \(x.shape) with weight \(weight.shape)") }
        return try Shape(x.shape[0], weight.shape[0], outH, outW)
    }

    private static func extent(_ size: Int, _ before: Int, _ after: Int, _ kernel: Int, _ stride: Int) -> Int? {
        let room = size &+ before &+ after &- kernel  // extents of a shape and a few pixels
        return room < 0 ? nil : room / max(1, stride) &+ 1
    }
}
