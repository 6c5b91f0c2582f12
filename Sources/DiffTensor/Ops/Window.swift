extension Run {
    /// The part of [batch, channels, h, w] that starts at (`top`, `left`).
    public func window(
        _ x: Tensor, top: Int, left: Int, height: Int, width: Int
    ) throws(DiffError) -> Tensor {
        let (h, w) = (x.shape[2], x.shape[3])
        guard x.shape.rank == 4, top >= 0, left >= 0, height >= 0, width >= 0, height <= h, width <= w,
            top <= h &- height, left <= w &- width
        else { throw DiffError(.shape, "a \(height) x \(width) window at (\(top), \(left)) of \(x.shape)") }
        let planes = x.shape[0] &* x.shape[1]
        let out = try workspace.take(Shape(x.shape[0], x.shape[1], height, width))
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return out }
        for plane in Indices(below: planes) {
            for row in Indices(below: height) {
                unsafe (to + (plane &* height &+ row) &* width).update(
                    from: from + ((plane &* h &+ top &+ row) &* w &+ left), count: width)
            }
        }
        return out
    }

    /// Writes `x` into `out` at (`top`, `left`); the first `overlap` rows and columns that lie inside `out` are faded in
    /// linearly over what is there (written by the tiles above and to the left).
    public func blend(_ x: Tensor, into out: Tensor, top: Int, left: Int, overlap: Int) throws(DiffError) {
        let (height, width) = (x.shape[2], x.shape[3])
        guard x.shape.rank == 4, out.shape.rank == 4, x.shape[1] == out.shape[1], x.shape[0] == out.shape[0], top >= 0,
            left >= 0, height <= out.shape[2], width <= out.shape[3], top <= out.shape[2] &- height,
            left <= out.shape[3] &- width
        else { throw DiffError(.shape, "a tile \(x.shape) at (\(top), \(left)) of \(out.shape)") }
        guard isLive, let from = unsafe x.floats, let to = unsafe out.floats else { return }
        for plane in Indices(below: x.shape[0] &* x.shape[1]) {
            for row in Indices(below: height) {
                let fadeY = top > 0 && row < overlap ? Float(row) / Float(overlap) : 1
                let source = unsafe from + (plane &* height &+ row) &* width
                let target = unsafe to + ((plane &* out.shape[2] &+ top &+ row) &* out.shape[3] &+ left)
                for column in Indices(below: width) {
                    let fadeX = left > 0 && column < overlap ? Float(column) / Float(overlap) : 1
                    let weight = fadeX * fadeY
                    unsafe target[column] = weight * source[column] + (1 - weight) * (weight < 1 ? target[column] : 0)
                }
            }
        }
    }
}
