import CKernels

extension Run {
    /// Each input pixel gathers from the outputs it went to: the outputs, apart by the stride, under the weights turned round; then the
    /// pixels that enlarging made of one are added up.
    func convolutionBackward(
        _ g: Tensor, _ x: Tensor, _ weight: Tensor, _ window: ConvolutionWindow, _ method: ConvolutionMethod,
        _ extras: ConvolutionExtras
    ) throws(DiffError) {
        guard let tape else { return }
        if let residual = extras.residual { try tape.pass(g, to: residual, self) }
        if let vectors = extras.vectors, vectors.tensor.isTracked {
            let sums = try workspace.take(Shape(g.shape[0], g.shape[1]))
            count(flops: Double(g.shape.count))
            if isLive {
                unsafe ck_plane_sums(
                    poolHandle, g.floats, sums.floats, Int64(sums.shape.count), Int64(g.shape[2] &* g.shape[3]))
            }
            try addColumns(sums, to: vectors)
        }
        guard x.isTracked else { return }
        let (up, kh, kw) = (window.upsample, weight.shape[2], weight.shape[3])
        guard weight.dtype == .f32, window.top < kh, window.left < kw else {
            throw DiffError(.unsupported, "no gradient passes through this convolution")
        }
        let spread = try spreadApart(g, by: window.stride)
        var back = ConvolutionWindow()
        (back.top, back.left) = (kh &- 1 &- window.top, kw &- 1 &- window.left)
        // As many rows and columns come out as went in, those that no window reached as zeros.
        back.bottom = x.shape[2] &* up &+ kh &- 1 &- spread.shape[2] &- back.top
        back.right = x.shape[3] &* up &+ kw &- 1 &- spread.shape[3] &- back.left
        guard back.bottom >= 0, back.right >= 0 else {
            throw DiffError(.unsupported, "no gradient passes through a convolution that leaves pixels out")
        }
        let enlarged = try convolved(spread, turned(weight), bias: nil, back, method, .f32, ConvolutionExtras())
        guard up > 1 else { return try tape.give(enlarged, to: x, self) }
        let dx = try workspace.take(x.shape)
        count(flops: Double(enlarged.shape.count))
        if isLive {
            unsafe ck_resize_nearest_backward(
                poolHandle, enlarged.floats, dx.floats, Int64(x.shape[0] &* x.shape[1]), Int64(x.shape[2]),
                Int64(x.shape[3]), Int64(enlarged.shape[2]), Int64(enlarged.shape[3]))
        }
        try tape.give(dx, to: x, self)
    }

    /// The pixels of `g` [batch, channels, h, w], `stride` apart, zeros between.
    private func spreadApart(_ g: Tensor, by stride: Int) throws(DiffError) -> Tensor {
        guard stride > 1 else { return g }
        let (h, w) = (g.shape[2], g.shape[3])
        let shape = try Shape(g.shape[0], g.shape[1], (h &- 1) &* stride &+ 1, (w &- 1) &* stride &+ 1)
        let out = try workspace.take(shape)
        fillZero(out)
        guard isLive, let from = unsafe g.floats, let to = unsafe out.floats else { return out }
        for line in Indices(below: g.shape[0] &* g.shape[1] &* h) {
            let start = (line / max(1, h) &* shape[2] &+ line % max(1, h) &* stride) &* shape[3]
            for i in Indices(below: w) { unsafe to[start &+ i &* stride] = from[line &* w &+ i] }
        }
        return out
    }

    /// Weights [out, in, k, k] as those of the way back: [in, out, k, k], turned by half a circle.
    private func turned(_ weight: Tensor) throws(DiffError) -> Tensor {
        let (outputs, inputs, area) = (weight.shape[0], weight.shape[1], weight.shape[2] &* weight.shape[3])
        let result = try workspace.take(Shape(inputs, outputs, weight.shape[2], weight.shape[3]))
        guard isLive, let from = unsafe weight.floats, let to = unsafe result.floats else { return result }
        for output in Indices(below: outputs) {
            for input in Indices(below: inputs) {
                for tap in Indices(below: area) {
                    unsafe to[(input &* outputs &+ output) &* area &+ (area &- 1 &- tap)] =
                        unsafe from[(output &* inputs &+ input) &* area &+ tap]
                }
            }
        }
        return result
    }

    /// The gradient of a group norm's input. The statistics are computed again.
    func groupNormBackward(_ g: Tensor, _ x: Tensor, _ norm: GroupNormalisation) throws(DiffError) {
        let dx = try workspace.take(x.shape)
        count(flops: 20 * Double(x.shape.count))
        var arguments = try unsafe groupNormArguments(x, norm)
        if isLive, let to = unsafe dx.floats {
            unsafe arguments.out = to
            unsafe ck_group_norm_backward(poolHandle, &arguments, g.floats)
        }
        try tape?.give(dx, to: x, self)
    }
}
