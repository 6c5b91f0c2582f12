import CKernels

/// A layer norm's inputs, for its forward and its backward kernel.
struct LayerNorm: Sendable {
    let x: Tensor
    let weight, bias: Tensor?
    let shift, scale: RowVectors?
    let eps: Float

    var isTracked: Bool {
        x.isTracked || weight?.isTracked == true || bias?.isTracked == true || shift?.tensor.isTracked == true
            || scale?.tensor.isTracked == true
    }

    /// Rows that share a shift and a scale.
    var rowsPerSample: Int { max(1, x.shape.rows / max(1, x.shape[0])) }

    @unsafe var arguments: ck_layer_norm_args {
        var arguments = unsafe ck_layer_norm_args()
        unsafe arguments.x = UnsafePointer(x.floats)
        unsafe arguments.weight = weight.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.bias = bias.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.shift = shift.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.scale = scale.flatMap { unsafe UnsafePointer($0.floats) }
        unsafe arguments.mod_stride = Int64(shift?.stride ?? 0)
        unsafe arguments.rows_per_sample = Int64(rowsPerSample)
        unsafe (arguments.rows, arguments.width) = (Int64(x.shape.rows), Int64(x.shape.last))
        unsafe arguments.eps = eps
        return unsafe arguments
    }
}

extension Run {
    func layerNormBackward(_ g: Tensor, _ norm: LayerNorm) throws(DiffError) {
        guard let tape else { return }
        let x = norm.x
        let dx = try tape.sum(for: x, self)
        let vectors = try Shape(x.shape[0], x.shape.last)
        let dshift = norm.shift?.tensor.isTracked == true ? try workspace.take(vectors) : nil
        let dscale = norm.scale?.tensor.isTracked == true ? try workspace.take(vectors) : nil
        let dweight = try norm.weight.flatMap { (weight) throws(DiffError) in try tape.accumulator(for: weight, self) }
        let dbias = try norm.bias.flatMap { (bias) throws(DiffError) in try tape.accumulator(for: bias, self) }
        count(flops: 16 * Double(x.shape.count))
        let scratch = try scratch(
            ck_layer_norm_backward_scratch(
                Int32(clamping: threads), Int64(x.shape.rows), Int64(x.shape.last), Int64(norm.rowsPerSample)))
        if isLive {
            var arguments = unsafe ck_layer_norm_backward_args()
            unsafe arguments.norm = norm.arguments
            unsafe arguments.g = UnsafePointer(g.floats)
            unsafe arguments.add = dx?.add.flatMap { unsafe UnsafePointer($0.floats) }
            unsafe arguments.dx = dx?.out.floats
            unsafe (arguments.dshift, arguments.dscale) = unsafe (dshift?.floats, dscale?.floats)
            unsafe arguments.dmod_stride = Int64(x.shape.last)
            unsafe (arguments.dweight, arguments.dbias) = unsafe (dweight?.floats, dbias?.floats)
            unsafe arguments.accumulate = 1
            unsafe arguments.scratch = scratch?.base
            unsafe ck_layer_norm_backward(poolHandle, &arguments)
        }
        if let dshift, let shift = norm.shift { try addColumns(dshift, to: shift) }
        if let dscale, let scale = norm.scale { try addColumns(dscale, to: scale) }
    }
}
