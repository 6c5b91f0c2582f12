import CKernels

extension Run {
    /// weight ⊙ x / √(mean(x²) + eps) over the last axis: a norm that subtracts no mean. `weight` has that axis' length.
    public func rmsNorm(_ x: Tensor, weight: Tensor, eps: Float) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a norm without a mean")
        guard weight.shape.count == x.shape.last else {
            throw DiffError(.shape, "norm: input \(x.shape) with \(weight.shape.count) weights")
        }
        let out = try workspace.take(x.shape)
        count(flops: 4 * Double(x.shape.count))
        if isLive {
            unsafe ck_rms_norm(
                poolHandle, x.floats, weight.floats, out.floats, Int64(x.shape.rows), Int64(x.shape.last), eps)
        }
        return out
    }

    /// activation(gate) ⊙ up, where the last axis of `x` holds the gate and then as many ups: [..., 2 width] to [..., width].
    public func gated(_ x: Tensor, _ activation: Activation) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a gated linear unit")
        guard x.shape.rank > 0, x.shape.last % 2 == 0 else {
            throw DiffError(.shape, "a gate and as many others do not make \(x.shape)")
        }
        let width = x.shape.last / 2
        let out = try workspace.take(x.shape.replacingLast(width))
        count(flops: 5 * Double(out.shape.count))
        if isLive {
            unsafe ck_gated(poolHandle, activation.rawValue, x.floats, out.floats, Int64(x.shape.rows), Int64(width))
        }
        return out
    }

    /// Rows `indices` of `x` [1, rows, width]: [1, indices.count, width]. Throws `internal` for a row outside.
    public func gatherRows(_ x: Tensor, _ indices: [Int]) throws(DiffError) -> Tensor {
        try refuseTracked(x, "a choice of rows")
        let rows = x.shape.rows
        guard x.shape.rank == 3, indices.each.allSatisfy({ $0 >= 0 && $0 < rows }) else {
            throw DiffError(.internal, "rows of \(x.shape)")
        }
        let out = try workspace.take(Shape(1, indices.count, x.shape.last))
        guard isLive else { return out }
        let wide = indices.each.map { Int64($0) }
        unsafe wide.withUnsafeBufferPointer { wide in
            unsafe ck_gather_rows(x.floats, wide.baseAddress, out.floats, Int64(wide.count), Int64(x.shape.last))
        }
        return out
    }

    /// Rows `tokens` of the table that is also the weights of a head, as [1, tokens.count, inputs]. Throws `invalidArgument` for a
    /// token outside the table.
    public func embedding(_ table: WeightMatrix, _ tokens: [Int]) throws(DiffError) -> Tensor {
        for (position, token) in tokens.numbered where token < 0 || token >= table.outputs {
            throw DiffError(
                .invalidArgument, "token \(token) at position \(position) is outside 0..<\(table.outputs)")
        }
        let out = try workspace.take(Shape(1, tokens.count, table.inputs))
        guard isLive else { return out }
        let wide = tokens.each.map { Int64($0) }
        let (type, elements, width) = (table.dtype.rawValue, table.elements, Int64(table.inputs))
        unsafe wide.withUnsafeBufferPointer { wide in
            guard let first = wide.baseAddress else { return }
            if table.isPacked {
                unsafe ck_packed_rows(
                    type, elements.raw, table.scales, Int64(table.outputs), width, first, out.floats,
                    Int64(wide.count))
            } else {
                unsafe ck_embedding(elements.raw, type, first, out.floats, Int64(wide.count), width)
            }
        }
        return out
    }
}
