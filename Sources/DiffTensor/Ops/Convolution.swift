import CKernels

/// Geometry of a 2-d convolution.
public struct ConvolutionWindow: Sendable, Equatable {
    /// Pixels between two windows.
    public var stride = 1
    /// Zero rows and columns added on each side of the (enlarged) input.
    public var top = 0, left = 0, bottom = 0, right = 0
    /// The input is read as if enlarged this many times (1 or 2) by nearest neighbours.
    public var upsample = 1

    /// A window with equal padding on all sides.
    public init(padding: Int = 0, stride: Int = 1, upsample: Int = 1) {
        (top, left, bottom, right) = (padding, padding, padding, padding)
        self.stride = stride
        self.upsample = upsample
    }

    /// The VAE encoder's downsampling: 3 x 3, stride 2, one zero row below and one zero column to the right.
    public static var halving: ConvolutionWindow {
        var window = ConvolutionWindow(stride: 2)
        (window.bottom, window.right) = (1, 1)
        return window
    }
}

extension Run {
    /// Convolution of [batch, in, h, w] with `weight` [out, in, kh, kw] in any element type and `bias` [out]; `residual`,
    /// of the output's shape, is added to the result. A gradient passes to `x` where the window keeps the size (stride 1, no residual).
    public func convolution(
        _ x: Tensor, _ weight: Tensor, bias: Tensor?, window: ConvolutionWindow, adding residual: Tensor? = nil
    ) throws(DiffError) -> Tensor {
        try refuseTracked(weight, "a convolution's weights")
        guard let tape, x.isTracked else { return try convolved(x, weight, bias: bias, window, residual) }
        let side = weight.shape[2]
        guard residual == nil, side == weight.shape[3], weight.dtype == .f32,
            window == ConvolutionWindow(padding: side / 2), side % 2 == 1
        else { throw DiffError(.unsupported, "no gradient passes through this convolution") }
        return try tape.record(convolved(x, weight, bias: bias, window, nil)) { (g, run) throws(DiffError) in
            // Each input pixel gathers from the outputs it went to: the same window over turned weights.
            try run.tape?.give(run.convolved(g, run.turned(weight), bias: nil, window, nil), to: x, run)
        }
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

    private func convolved(
        _ x: Tensor, _ weight: Tensor, bias: Tensor?, _ window: ConvolutionWindow, _ residual: Tensor?
    ) throws(DiffError) -> Tensor {
        let (kh, kw) = (weight.shape[2], weight.shape[3])
        guard x.shape.rank == 4, weight.shape.rank == 4, weight.shape[1] == x.shape[1], window.stride > 0,
            (1...2).contains(window.upsample), kh > 0, kw > 0,
            (bias?.shape.count ?? weight.shape[0]) == weight.shape[0],
            let outH = Self.extent(x.shape[2] &* window.upsample, window.top, window.bottom, kh, window.stride),
            let outW = Self.extent(x.shape[3] &* window.upsample, window.left, window.right, kw, window.stride)
        else { throw DiffError(.shape, "convolution: input \(x.shape) with weight \(weight.shape)") }
        let out = try workspace.take(Shape(x.shape[0], weight.shape[0], outH, outW))
        if let residual, residual.shape != out.shape {
            throw DiffError(.shape, "convolution: a residual of \(residual.shape) for an output of \(out.shape)")
        }
        count(flops: 2 * Double(out.shape.count) * Double(x.shape[1] &* kh &* kw))
        var arguments = unsafe ck_conv2d_args()
        unsafe arguments.x = UnsafePointer(x.floats)
        unsafe arguments.w = UnsafeRawPointer(weight.raw)
        unsafe arguments.dtype = weight.dtype.rawValue
        unsafe arguments.bias = bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.add = residual.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.out = out.floats
        unsafe (arguments.batch, arguments.in_channels) = (Int64(x.shape[0]), Int64(x.shape[1]))
        unsafe (arguments.h, arguments.width) = (Int64(x.shape[2]), Int64(x.shape[3]))
        unsafe (arguments.out_channels, arguments.out_h, arguments.out_w) = (
            Int64(weight.shape[0]), Int64(outH), Int64(outW)
        )
        unsafe (arguments.kh, arguments.kw, arguments.stride) = (Int64(kh), Int64(kw), Int64(window.stride))
        unsafe (arguments.pad_top, arguments.pad_left) = (Int64(window.top), Int64(window.left))
        unsafe arguments.upsample = Int64(window.upsample)
        let scratch = try scratch(unsafe ck_conv2d_scratch(Int32(clamping: threads), &arguments))
        guard isLive else { return out }
        unsafe arguments.scratch = scratch?.base
        unsafe ck_conv2d(poolHandle, &arguments)
        return out
    }

    private static func extent(_ size: Int, _ before: Int, _ after: Int, _ kernel: Int, _ stride: Int) -> Int? {
        let room = size &+ before &+ after &- kernel  // extents of a shape and a few pixels
        return room < 0 ? nil : room / max(1, stride) &+ 1
    }
}
