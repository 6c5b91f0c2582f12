public import DiffTensor

/// The random numbers of one step of learning: a stream that depends on the run's seed and the step's number alone.
///
/// So a run that is resumed at any step draws what it would have drawn, and nothing of a generator has to be saved.
public struct StepDraws: Sendable {
    private var generator: TorchRandom

    /// The stream of `step` in a run with `seed`.
    public init(seed: UInt64, step: Int, purpose: UInt64 = 0) {
        // splitmix64's finaliser: neighbouring steps and seeds have nothing in common.
        var z =
            seed &+ (UInt64(truncatingIfNeeded: step) &+ 1) &* 0x9e37_79b9_7f4a_7c15 &+ purpose &* 0xd1b5_4a32_d192_ed03
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        generator = TorchRandom(seed: z ^ (z >> 31))
    }

    /// An integer below `count`; 0 when there is none.
    public mutating func index(below count: Int) -> Int {
        count > 0 ? Int(truncatingIfNeeded: generator.next64() % UInt64(truncatingIfNeeded: count)) : 0
    }

    /// `count` integers below `limit`.
    public mutating func indices(_ count: Int, below limit: Int) -> [Int] {
        Indices(below: count).map { _ in index(below: limit) }
    }

    /// `count` numbers in 0 ..< 1.
    public mutating func uniform(_ count: Int) -> [Float] {
        Indices(below: count).map { _ in
            var u: Float = 0
            unsafe withUnsafeMutablePointer(to: &u) { unsafe generator.uniform($0, count: 1) }
            return u
        }
    }

    /// `labels`, each replaced by `null` with probability `share`; unchanged when there is no null class.
    public mutating func dropping(_ labels: [Int], _ share: Double, null: Int?) -> [Int] {
        guard let null, share > 0 else { return labels }
        return zip(labels.each, uniform(labels.count).each).map { Double($1) < share ? null : $0 }
    }

    /// Standard normal numbers of `shape`.
    public mutating func normal(_ shape: Shape, _ run: Run) throws(DiffError) -> Tensor {
        try run.randomNormal(shape, &generator)
    }

    /// Gumbel noise for the gates.
    mutating func gumbel(_ gates: GateLogits, samples: Int) -> [[[Float]]] {
        gates.noise(samples: samples, &generator)
    }
}
