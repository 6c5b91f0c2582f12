import Glibc

/// The frequencies of a sinusoidal time embedding, computed once per model.
///
/// ω_k = exp(-ln(10000) k / denominator) for k in 0 ..< half, in float32 throughout: one ulp in ω moves the angles of
/// late timesteps by 6e-5. The official DiT divides by `half`, diffusers by `half - 1`.
public struct TimeFrequencies: Sendable {
    let omega: [Float]
    /// Whether cosines come before sines: `flip_sin_to_cos` of diffusers.
    let cosinesFirst: Bool

    /// `half` frequencies.
    public init(half: Int, denominator: Float, cosinesFirst: Bool = true) {
        let scale = Float(-log(10000.0 as Double))
        omega = Indices(below: half).map { expf(scale * Float($0) / denominator) }
        self.cosinesFirst = cosinesFirst
    }

    /// `half` frequencies of a guidance scale that a network is told, sines first: here the quotient of logarithm and `half - 1` is
    /// rounded. Source: `get_guidance_scale_embedding` of diffusers' LCM pipeline.
    public static func guidance(half: Int) -> TimeFrequencies {
        let step = Float(log(10000.0 as Double)) / Float(max(1, half &- 1))
        return TimeFrequencies(omega: Indices(below: half).map { expf(Float($0) * -step) }, cosinesFirst: false)
    }

    private init(omega: [Float], cosinesFirst: Bool) { (self.omega, self.cosinesFirst) = (omega, cosinesFirst) }
}

extension Run {
    /// [cos(t ω_0) …, sin(t ω_0) …] for every time in `times` [batch]; gives [batch, 2 * half].
    public func timeFeatures(_ times: Tensor, _ frequencies: TimeFrequencies) throws(DiffError) -> Tensor {
        let (batch, half) = (times.shape.count, frequencies.omega.count)
        let out = try workspace.take(Shape(batch, 2 &* half))
        guard isLive, let t = unsafe times.floats, let row = unsafe out.floats else { return out }
        let (cosines, sines) = frequencies.cosinesFirst ? (0, half) : (half, 0)
        for sample in Indices(below: batch) {
            for (k, omega) in frequencies.omega.numbered {
                let angle = unsafe t[sample] * omega
                unsafe row[sample &* 2 &* half &+ cosines &+ k] = cosf(angle)
                unsafe row[sample &* 2 &* half &+ sines &+ k] = sinf(angle)
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
