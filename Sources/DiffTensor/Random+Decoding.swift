import Glibc

/// Draws that decoding makes one value at a time.
extension TorchRandom {
    /// One value of `torch.rand(…, dtype=float64)`: [0, 1) with 53 random bits.
    public mutating func uniformDouble() -> Double { Double(next64() & 0x1f_ffff_ffff_ffff) * 0x1p-53 }

    /// One value of `torch.rand(…)`: [0, 1) with 24 random bits.
    public mutating func uniformFloat() -> Float { Float(next32() & 0xff_ffff) * 0x1p-24 }

    /// One value of `Tensor.exponential_()` in f32, by torch's own formula: −ln(1 − u) of a 53-bit u.
    ///
    /// Compared with torch 2.15 of PyPI, which is built with MKL: the same bits. A torch that leaves these to MKL's own generator has
    /// others, which have to be passed in.
    public mutating func exponentialFloat() -> Float { Float(-log1p(-uniformDouble())) }
}
