import Glibc

/// torch's CPU random generator: MT19937 with the same streams for `rand`, `randn` and `randperm` (float32).
///
/// The integer stream is exact; normal values agree with torch up to its own rounding of log, cos and sin (2e-7 + 2e-7 |x|). A value
/// type: copying it forks the stream. Source: torch's `CPUGeneratorImpl`, `DistributionTemplates.h`.
public struct TorchRandom: Sendable {
    // On the heap: generators travel inside requests, and hosts call from threads with small stacks.
    private var state: [UInt32]
    private var next = 624
    // torch keeps the second value of a scalar normal pair inside the generator, across calls.
    private var pendingNormal: Double?

    /// The generator after `torch.manual_seed(seed)`. torch seeds MT19937 with the low 32 bits.
    public init(seed: UInt64) {
        var state = [UInt32](repeating: 0, count: 624)
        state[0] = UInt32(truncatingIfNeeded: seed)
        var previous = state[0]
        for i in 1..<624 {
            previous = 1_812_433_253 &* (previous ^ (previous >> 30)) &+ UInt32(truncatingIfNeeded: i)
            state[i] = previous
        }
        self.state = state
    }

    /// The next 32 random bits.
    public mutating func next32() -> UInt32 {
        if next >= 624 { twist() }
        let word = state.at(next) ?? 0  // never outside: `next` is below 624
        next &+= 1
        return Self.tempered(word)
    }

    private static func tempered(_ word: UInt32) -> UInt32 {
        var y = word ^ (word >> 11)
        y ^= (y << 7) & 0x9d2c_5680
        y ^= (y << 15) & 0xefc6_0000
        return y ^ (y >> 18)
    }

    /// The next 64 random bits: two draws, the first is the high word.
    public mutating func next64() -> UInt64 {
        let high = UInt64(next32())
        return high << 32 | UInt64(next32())
    }

    private mutating func twist() {
        // A draw for every code of every token twists tens of thousands of times: no check, no division in the loops.
        unsafe state.withUnsafeMutableBufferPointer { buffer in
            guard buffer.count >= 624, let s = buffer.baseAddress else { return }
            func mixed(_ i: Int, _ following: Int, _ far: Int) {
                let bits = unsafe (s[i] & 0x8000_0000) | (s[following] & 0x7fff_ffff)
                unsafe s[i] = s[far] ^ (bits >> 1) ^ ((bits & 1) &* 0x9908_b0df)
            }
            var i = 0
            while i < 227 {
                mixed(i, i &+ 1, i &+ 397)
                i &+= 1
            }
            while i < 623 {
                mixed(i, i &+ 1, i &- 227)
                i &+= 1
            }
            mixed(623, 0, 396)
        }
        next = 0
    }

    /// `torch.rand`: `count` values in [0, 1) with 24 random bits each.
    public mutating func uniform(_ out: UnsafeMutablePointer<Float>, count: Int) {
        for i in Indices(below: count) { unsafe out[i] = uniform24() }
    }

    private mutating func uniform24() -> Float { Float(next32() & 0xff_ffff) * 0x1p-24 }

    /// `torch.randn`: `count` standard normal values, as one tensor of that many elements.
    ///
    /// The element count matters: torch transforms 16 values at a time when there are 16 or more (and redraws the last 16
    /// when the count is no multiple of 16), and draws pairs of doubles when there are fewer.
    public mutating func normal(_ out: UnsafeMutablePointer<Float>, count: Int) {
        guard count >= 16 else {
            for i in Indices(below: count) { unsafe out[i] = Float(scalarNormal()) }
            return
        }
        unsafe uniform(out, count: count)
        for block in Indices(below: count / 16) { unsafe Self.boxMuller(out + block &* 16) }
        if count % 16 != 0 {
            let tail = unsafe out + (count &- 16)
            unsafe uniform(tail, count: 16)
            unsafe Self.boxMuller(tail)
        }
    }

    /// 16 uniform values into 16 normal ones, in place.
    private static func boxMuller(_ values: UnsafeMutablePointer<Float>) {
        // Not 2 * Float.pi, which Swift rounds towards zero: torch rounds 2π to the nearest float.
        let twoPi = Float(2 * Double.pi)
        for j in 0..<8 {
            let radius = unsafe (-2 * logf(1 - values[j])).squareRoot()
            let angle = unsafe twoPi * values[j + 8]
            unsafe values[j] = radius * cosf(angle)
            unsafe values[j + 8] = radius * sinf(angle)
        }
    }

    private mutating func scalarNormal() -> Double {
        if let value = pendingNormal {
            pendingNormal = nil
            return value
        }
        let angle = 2 * Double.pi * uniform53()
        let radius = (-2 * log1p(-uniform53())).squareRoot()
        pendingNormal = radius * sin(angle)
        return radius * cos(angle)
    }

    private mutating func uniform53() -> Double { Double(next64() & 0x1f_ffff_ffff_ffff) * 0x1p-53 }

    /// `count` times 53 random bits: what `torch.Tensor.exponential_` makes its values of.
    mutating func words53(_ out: UnsafeMutablePointer<UInt64>, count: Int) {
        let mask: UInt64 = 0x1f_ffff_ffff_ffff
        var done = 0
        while done < count {
            let pairs = min(count &- done, (624 &- next) / 2)
            guard pairs > 0 else {
                unsafe out[done] = next64() & mask
                done &+= 1
                continue
            }
            // As in the twist: a draw for every code of every token.
            unsafe state.withUnsafeBufferPointer { buffer in
                guard buffer.count >= 624, let s = buffer.baseAddress else { return }
                var (from, to) = unsafe (s + next, out + done)
                let end = unsafe to + pairs
                while unsafe to < end {
                    let (high, low) = unsafe (Self.tempered(from[0]), Self.tempered(from[1]))
                    unsafe to.pointee = (UInt64(high) << 32 | UInt64(low)) & mask
                    unsafe (from, to) = unsafe (from + 2, to + 1)
                }
            }
            next &+= 2 &* pairs
            done &+= pairs
        }
    }

    /// `torch.randperm(count)`: a permutation of 0 ..< count.
    ///
    /// Below 2^32 / 20 elements torch swaps forward with 32-bit draws; from there on it shuffles inside out with 64-bit
    /// draws, since the modulus would otherwise be visibly uneven.
    public mutating func permutation(_ out: UnsafeMutablePointer<Int64>, count: Int) {
        guard count > 0 else { return }
        for i in Indices(below: count) { unsafe out[i] = Int64(i) }
        if count < Int(UInt32.max) / 20 {
            for i in Indices(below: count &- 1) {
                // count - i is at least 2 and fits 32 bits here.
                let j = i &+ Int(next32() % max(1, UInt32(truncatingIfNeeded: count &- i)))
                unsafe (out[i], out[j]) = unsafe (out[j], out[i])
            }
        } else {
            for i in Indices(below: count) {
                let j = Int(truncatingIfNeeded: next64() % max(1, UInt64(truncatingIfNeeded: i &+ 1)))
                unsafe out[i] = unsafe out[j]
                unsafe out[j] = Int64(i)
            }
        }
    }
}
