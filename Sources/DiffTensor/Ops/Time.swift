import Glibc

/// The frequencies of a sinusoidal time embedding, computed once per model.
///
/// ω_k = exp(-ln(10000) k / denominator) for k in 0 ..< half, in float32 throughout: one ulp in ω moves the angles of
/// late timesteps by 6e-5. The official DiT divides by `half`, diffusers by `half - 1`.
public struct TimeFrequencies: Sendable {
    let omega: [Float]

    /// `half` frequencies.
    public init(half: Int, denominator: Float) {
        let scale = Float(-log(10000.0 as Double))
        omega = Indices(below: half).map { expf(scale * Float($0) / denominator) }
    }
}

extension Run {
    /// [cos(t ω_0) …, sin(t ω_0) …] for every time in `times` [batch]; gives [batch, 2 * half]. Cosines come first.
    public func timeFeatures(_ times: Tensor, _ frequencies: TimeFrequencies) throws(DiffError) -> Tensor {
        let (batch, half) = (times.shape.count, frequencies.omega.count)
        let out = try workspace.take(Shape(batch, 2 &* half))
        guard isLive, let t = unsafe times.floats, let row = unsafe out.floats else { return out }
        for sample in Indices(below: batch) {
            for (k, omega) in frequencies.omega.numbered {
                let angle = unsafe t[sample] * omega
                unsafe row[sample &* 2 &* half &+ k] = cosf(angle)
                unsafe row[sample &* 2 &* half &+ half &+ k] = sinf(angle)
            }
        }
        return out
    }

    /// A vector of `count` equal elements.
    public func filled(_ count: Int, with value: Float) throws(DiffError) -> Tensor {
        let out = try workspace.take(Shape(count))
        if isLive, let base = unsafe out.floats { unsafe base.update(repeating: value, count: max(0, count)) }
        return out
    }
}
