import DiffTensor

/// Reproducible numbers for tests, independent of the library's own generator (SplitMix64).
public struct Numbers {
    private var state: UInt64

    /// The numbers of `seed`.
    public init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }

    /// 64 random bits.
    public mutating func bits() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// `count` values, even in -scale ..< scale.
    public mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
        (0..<count).map { _ in (Float(bits() >> 40) * 0x1p-23 - 1) * scale }
    }

    /// A tensor of such values.
    public mutating func tensor(_ dims: [Int], scale: Float = 1, around centre: Float = 0) throws(DiffError) -> Tensor {
        let shape = try Shape(dims)
        return try Tensor(floats(shape.count, scale: scale).map { $0 + centre }, shape)
    }
}

/// The half-precision number nearest to `value` (ties to even), as its 16 bits. For finite values below 65504.
public func halfBits(_ value: Float) -> UInt16 {
    let sign = UInt16(value.sign == .minus ? 0x8000 : 0)
    let magnitude = abs(value)
    // Below the smallest normal number the spacing is 2^-24; above it, 2^-10 of the binade.
    let exponent = max(magnitude == 0 ? -14 : Int(magnitude.exponent), -14)
    let unit = Float(sign: .plus, exponent: exponent - 10, significand: 1)
    let steps = Int((magnitude / unit).rounded(.toNearestOrEven))
    return sign | UInt16(steps + (exponent + 14) * 1024)
}
