import CKernels

/// Activation functions that a linear layer or a group norm can apply to its own output.
public enum Activation: Int32, Sendable, CaseIterable {
    case none = 0
    /// 0.5 u (1 + tanh(sqrt(2/pi) (u + 0.044715 u^3)))
    case geluTanh = 1
    /// u times the normal distribution function
    case geluErf = 2
    /// u / (1 + exp(-u))
    case silu = 3
}

extension Run {
    /// activation(x Wᵀ + b). `x` is [..., k], `weight` [n, k] in any element type, `bias` [n]; gives [..., n].
    public func linear(
        _ x: Tensor, _ weight: WeightMatrix, bias: Tensor?, activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        let (m, k, n) = (x.shape.rows, x.shape.last, weight.outputs)
        guard weight.inputs == k, x.dtype == .f32, (bias?.shape.count ?? n) == n else {
            throw DiffError(.shape, "linear: input \(x.shape) with weights [\(n), \(weight.inputs)]")
        }
        let out = try workspace.take(x.shape.replacingLast(n))
        count(flops: 2 * Double(m) * Double(n) * Double(k))
        // One vector per sample, or the rows of samples' matrices: decided by the rank, never by the size of the batch, so that a
        // batch has the bits of its samples.
        let rows = Int32(x.shape.rank <= 2 ? CK_ROWS_ARE_VECTORS : CK_ROWS_OF_MATRIX)
        let layout = Int32(weight.isPacked ? CK_PACKED : CK_ROW_MAJOR)
        guard layout == CK_ROW_MAJOR || rows == CK_ROWS_OF_MATRIX else {
            throw DiffError(.internal, "linear: weights packed for matrices meet vectors of shape \(x.shape)")
        }
        let scratch = try scratch(ck_linear_scratch(Int32(threads), Int64(k), weight.dtype.rawValue, rows, layout))
        guard isLive else { return out }
        var arguments = unsafe ck_linear_args()
        unsafe arguments.x = UnsafePointer(x.floats)
        unsafe arguments.ldx = Int64(k)
        unsafe arguments.w = UnsafeRawPointer(weight.elements.raw)
        unsafe arguments.dtype = weight.dtype.rawValue
        unsafe arguments.bias = bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.y = out.floats
        unsafe arguments.ldy = Int64(n)
        unsafe (arguments.m, arguments.n, arguments.k) = (Int64(m), Int64(n), Int64(k))
        unsafe arguments.act = activation.rawValue
        unsafe arguments.scratch = scratch?.base
        unsafe arguments.rows = rows
        unsafe arguments.layout = layout
        unsafe ck_linear(poolHandle, &arguments)
        return out
    }
}
