import DiffTensor

extension Run {
    /// Guidance of a doubled batch [2n, channels, h, w], conditional half first: u + scale (c - u) in its first `guided` channels, c in the others.
    public func guided(_ x: Tensor, scale: Float, channels guided: Int) throws(DiffError) -> Tensor {
        let (half, channels) = (x.shape[0] / 2, x.shape[1])
        return try self.guided(
            x.rows(0, half), x.rows(half, half), scales: (0..<channels).map { $0 < guided ? scale : nil })
    }
}
