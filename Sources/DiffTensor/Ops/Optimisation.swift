import CKernels

/// One step of AdamW for one parameter. Source: Loshchilov & Hutter 2019; arithmetic as `torch.optim.AdamW`.
public struct AdamWStep: Sendable, Equatable {
    /// Learning rate, decays of the two moments, what is added to the root, decoupled weight decay.
    public var learningRate, beta1, beta2, eps, weightDecay: Double
    /// Number of this parameter's step, from 1.
    public var step: Int
    /// What gradients are multiplied by first: the clipping factor.
    public var gradientScale: Float

    /// A step with torch's defaults but no weight decay.
    public init(
        learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, eps: Double = 1e-8, weightDecay: Double = 0,
        step: Int, gradientScale: Float = 1
    ) {
        (self.learningRate, self.beta1, self.beta2, self.eps) = (learningRate, beta1, beta2, eps)
        (self.weightDecay, self.step, self.gradientScale) = (weightDecay, step, gradientScale)
    }
}

extension Run {
    /// Changes the parameter `p` and its moments in place. Throws `shape` when the counts differ.
    public func adamW(
        _ p: Tensor, m: Tensor, v: Tensor, gradient: Tensor, _ step: AdamWStep
    ) throws(DiffError) {
        let n = p.shape.count
        guard m.shape.count == n, v.shape.count == n, gradient.shape.count == n else {
            throw DiffError(.shape, "a step of \(p.shape) with a gradient of \(gradient.shape)")
        }
        guard isLive else { return }
        var arguments = unsafe ck_adamw_args()
        unsafe (arguments.p, arguments.m, arguments.v) = unsafe (p.floats, m.floats, v.floats)
        unsafe arguments.g = UnsafePointer(gradient.floats)
        unsafe arguments.n = Int64(n)
        unsafe (arguments.lr, arguments.beta1, arguments.beta2) = (step.learningRate, step.beta1, step.beta2)
        unsafe (arguments.eps, arguments.weight_decay) = (step.eps, step.weightDecay)
        unsafe (arguments.step, arguments.gradient_scale) = (Int64(step.step), step.gradientScale)
        unsafe ck_adamw(poolHandle, &arguments)
    }

    /// average = decay average + (1 - decay) p, in place. Throws `shape` when the counts differ.
    public func movingAverage(_ average: Tensor, toward p: Tensor, decay: Double) throws(DiffError) {
        guard average.shape.count == p.shape.count else {
            throw DiffError(.shape, "an average of \(average.shape) for a parameter of \(p.shape)")
        }
        if isLive { unsafe ck_ema(poolHandle, average.floats, p.floats, Int64(p.shape.count), Float(decay)) }
    }

    /// The sum of the squares of all elements, in double precision; 0 in a dry run.
    public func sumOfSquares(_ x: Tensor) throws(DiffError) -> Double {
        let n = Int64(x.shape.count)
        let partial = try workspace.block(Int(ck_sum_squares_partials(n)) &* 8)
        guard isLive else { return 0 }
        return unsafe ck_sum_squares(
            poolHandle, x.floats, n, partial.base?.assumingMemoryBound(to: Double.self))
    }
}
