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
    /// u / (1 + exp(-1.702 u))
    case geluQuick = 4
    /// max(u, 0)
    case relu = 5
}

extension Run {
    /// activation(x Wᵀ + b). `x` is [..., k], `weight` [n, k] in any element type, `bias` [n]; gives [..., n].
    public func linear(
        _ x: Tensor, _ weight: WeightMatrix, bias: Tensor?, activation: Activation = .none
    ) throws(DiffError) -> Tensor {
        guard let tape, x.isTracked || weight.elements.isTracked || bias?.isTracked == true else {
            return try linearForward(x, weight, bias: bias, activation)
        }
        // The way back through an activation needs what it was applied to.
        if activation != .none { return try activate(linear(x, weight, bias: bias), activation) }
        return try tape.record(linearForward(x, weight, bias: bias, .none)) { (g, run) throws(DiffError) in
            try run.linearBackward(g, x, weight, bias)
        }
    }

    private func linearForward(
        _ x: Tensor, _ weight: WeightMatrix, bias: Tensor?, _ activation: Activation
    ) throws(DiffError) -> Tensor {
        let (m, k, n) = (x.shape.rows, x.shape.last, weight.outputs)
        guard weight.inputs == k, x.dtype == .f32, (bias?.shape.count ?? n) == n else {
            throw DiffError(.shape, "linear: input \(x.shape) with weights [\(n), \(weight.inputs)]")
        }
        let out = try workspace.take(x.shape.replacingLast(n))
        // One vector per sample, or the rows of samples' matrices: decided by the rank, never by the size of the batch, so that a
        // batch has the bits of its samples.
        let rows = Int32(x.shape.rank <= 2 ? CK_ROWS_ARE_VECTORS : CK_ROWS_OF_MATRIX)
        try unsafe multiply(UnsafePointer(x.floats), m, weight, bias, activation, to: out.floats, stride: n, as: rows)
        return out
    }

    /// activation(x Wᵀ + b) of `m` rows that follow each other, written to rows that begin `stride` elements apart.
    func multiply(
        _ x: UnsafePointer<Float>?, _ m: Int, _ weight: WeightMatrix, _ bias: Tensor?, _ activation: Activation = .none,
        to y: UnsafeMutablePointer<Float>?, stride: Int, as rows: Int32 = Int32(CK_ROWS_OF_MATRIX)
    ) throws(DiffError) {
        let (n, k) = (weight.outputs, weight.inputs)
        count(flops: 2 * Double(m) * Double(n) * Double(k))
        let layout = Int32(weight.isPacked ? CK_PACKED : CK_ROW_MAJOR)
        guard layout == CK_ROW_MAJOR || rows == CK_ROWS_OF_MATRIX else {
            throw DiffError(.internal, "linear: weights packed for matrices meet \(m) vectors of \(k)")
        }
        let scratch = try scratch(
            ck_linear_scratch(Int32(clamping: threads), Int64(k), weight.dtype.rawValue, rows, layout))
        guard isLive else { return }
        guard unsafe weight.elements.raw != nil || n == 0 || k == 0 else { throw Self.notLoaded("a linear layer") }
        var arguments = unsafe ck_linear_args()
        unsafe arguments.x = x
        unsafe arguments.ldx = Int64(k)
        unsafe arguments.w = UnsafeRawPointer(weight.elements.raw)
        unsafe arguments.dtype = weight.dtype.rawValue
        unsafe arguments.bias = bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.y = y
        unsafe arguments.ldy = Int64(stride)
        unsafe (arguments.m, arguments.n, arguments.k) = (Int64(m), Int64(n), Int64(k))
        unsafe arguments.act = activation.rawValue
        unsafe arguments.scratch = scratch?.base
        unsafe arguments.rows = rows
        unsafe arguments.layout = layout
        unsafe arguments.scales = UnsafePointer(weight.scales)
        unsafe ck_linear(poolHandle, &arguments)
    }
}

extension Run {
    /// The error of a module whose weights belong to a part of the network that was left out when it was loaded.
    static func notLoaded(_ place: String) -> DiffError {
        DiffError(.internal, "\(place) of a part of the network that was not loaded: another rank computes it")
    }

    /// dx = g W, dW = gᵀ x, db = the sum of the rows of g; each only where it is asked for.
    private func linearBackward(
        _ g: Tensor, _ x: Tensor, _ weight: WeightMatrix, _ bias: Tensor?
    ) throws(DiffError) {
        guard let tape else { return }
        let (m, k, n) = (x.shape.rows, x.shape.last, weight.outputs)
        guard !weight.isPacked, weight.dtype == .f32 else {
            throw DiffError(.internal, "weights loaded for inference have no way back")
        }
        if let dx = try tape.target(for: x, self) {
            try product(
                (g, .rows, n), (weight.elements, .columns, k), into: dx.tensor, (m, k, n), accumulates: dx.accumulates)
        }
        if let dw = try tape.target(for: weight.elements, self) {
            try product((g, .columns, n), (x, .columns, k), into: dw.tensor, (n, k, m), accumulates: dw.accumulates)
        }
        if let bias, let db = try tape.target(for: bias, self) {
            count(flops: Double(g.shape.count))
            if isLive {
                unsafe ck_column_sums(
                    poolHandle, g.floats, Int64(m), Int64(n), Int64(n), db.accumulates ? 1 : 0, db.tensor.floats)
            }
        }
    }

    private enum Order: Int32 {
        case rows = 0
        case columns = 1
    }

    /// out [m, n] = a b with the sizes (m, n, k), each factor a tensor, its orientation and the distance of its rows.
    private func product(
        _ a: (tensor: Tensor, order: Order, stride: Int), _ b: (tensor: Tensor, order: Order, stride: Int),
        into out: Tensor, _ size: (m: Int, n: Int, k: Int), accumulates: Bool
    ) throws(DiffError) {
        count(flops: 2 * Double(size.m) * Double(size.n) * Double(size.k))
        let scratch = try scratch(
            ck_product_scratch(Int32(clamping: threads), Int64(size.m), Int64(size.n), Int64(size.k)))
        guard isLive else { return }
        var arguments = unsafe ck_product_args()
        unsafe (arguments.a, arguments.lda, arguments.a_form) = unsafe (
            UnsafePointer(a.tensor.floats), Int64(a.stride), a.order.rawValue
        )
        unsafe (arguments.b, arguments.ldb, arguments.b_form) = unsafe (
            UnsafePointer(b.tensor.floats), Int64(b.stride), b.order.rawValue
        )
        unsafe (arguments.c, arguments.ldc) = unsafe (out.floats, Int64(size.n))
        unsafe (arguments.m, arguments.n, arguments.k) = (Int64(size.m), Int64(size.n), Int64(size.k))
        unsafe arguments.accumulate = accumulates ? 1 : 0
        unsafe arguments.scratch = scratch?.base
        unsafe ck_product(poolHandle, &arguments)
    }
}
