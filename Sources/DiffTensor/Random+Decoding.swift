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

    /// `torch.randperm(count)` as an array: a permutation of 0 ..< count.
    public mutating func permutation(count: Int) -> [Int] {
        var order = [Int64](repeating: 0, count: max(0, count))
        unsafe order.withUnsafeMutableBufferPointer { buffer in
            if let base = buffer.baseAddress { unsafe permutation(base, count: buffer.count) }
        }
        return order.each.map { Int($0) }
    }

    /// `numpy.random.shuffle` of 0 ..< count by NumPy's old generator (`numpy.random.seed`), which has the same stream of 32-bit draws as
    /// torch's: swaps from the end, each partner by rejection under the smallest mask of ones.
    public mutating func shuffled(count: Int) -> [Int] {
        var order = Array(Indices(below: count))
        for back in Indices(below: count &- 1) {
            let last = count &- 1 &- back
            guard let bound = UInt32(exactly: last) else { continue }
            let mask = UInt32.max >> UInt32(truncatingIfNeeded: bound.leadingZeroBitCount)
            var drawn = next32() & mask
            while drawn > bound { drawn = next32() & mask }
            guard let a = order.at(last), let b = order.at(Int(drawn)) else { continue }
            order.put(b, at: last)
            order.put(a, at: Int(drawn))
        }
        return order
    }
}
