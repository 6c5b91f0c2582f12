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
