import CKernels

extension Run {
    /// Square planes [batch, channels, m, m] as [batch, channels, side, side] by bicubic interpolation: torch's
    /// `interpolate(mode="bicubic")` (A = -0.75, corners not aligned, no antialiasing).
    public func resampledBicubic(_ x: Tensor, side: Int) throws(DiffError) -> Tensor {
        let out = try resampled(x, side, "a bicubic resampling")
        count(flops: 40 * Double(out.shape.count))
        if isLive {
            unsafe ck_resample_bicubic(
                poolHandle, x.floats, out.floats, Int64(x.shape[0] &* x.shape[1]), Int64(x.shape[2]), Int64(side))
        }
        return out
    }

    /// The same by means over the areas of the new pixels: torch's `interpolate(mode="area")`. Areas overlap when the sides do
    /// not divide.
    public func resampledArea(_ x: Tensor, side: Int) throws(DiffError) -> Tensor {
        let out = try resampled(x, side, "an area resampling")
        count(flops: Double(max(x.shape.count, out.shape.count)))
        if isLive {
            unsafe ck_resample_area(
                poolHandle, x.floats, out.floats, Int64(x.shape[0] &* x.shape[1]), Int64(x.shape[2]), Int64(side))
        }
        return out
    }

    /// `kept` where the mask [batch, side, side] is 1, `other` where it is 0, in all channels of [batch, channels, side, side].
    public func chosen(_ kept: Tensor, _ other: Tensor, where mask: Tensor) throws(DiffError) -> Tensor {
        for tensor in [kept, other] { try refuseTracked(tensor, "a choice by a mask") }
        let shape = other.shape
        guard shape.rank == 4, kept.shape == shape, mask.shape.count == shape[0] &* shape[2] &* shape[3] else {
            throw DiffError(.shape, "a mask \(mask.shape) over \(kept.shape) and \(shape)")
        }
        let out = try workspace.take(shape)
        guard isLive, let a = unsafe kept.floats, let b = unsafe other.floats, let m = unsafe mask.floats,
            let to = unsafe out.floats
        else { return out }
        let area = shape[2] &* shape[3]
        for plane in Indices(below: shape[0] &* shape[1]) {
            let sample = plane / max(1, shape[1])
            for i in Indices(below: area) {
                let at = plane &* area &+ i
                unsafe to[at] = m[sample &* area &+ i] == 0 ? b[at] : a[at]
            }
        }
        return out
    }

    private func resampled(_ x: Tensor, _ side: Int, _ op: StaticString) throws(DiffError) -> Tensor {
        try refuseTracked(x, op)
        guard x.shape.rank == 4, x.shape[2] == x.shape[3], x.shape[2] > 0, side > 0 else {
            throw DiffError(.shape, "square planes of side \(side) from \(x.shape)")
        }
        return try workspace.take(Shape(x.shape[0], x.shape[1], side, side))
    }
}
