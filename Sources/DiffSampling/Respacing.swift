public import DiffTensor

/// Which of the training timesteps a sampler visits.
public enum TimestepSpacing: Sendable, Equatable {
    /// The official DiT respacing (`space_timesteps` of improved-diffusion): the range is cut into as many sections as
    /// counts are given and each is sampled evenly, ends included; a count of 0 leaves a section out.
    case even([Int])
    /// "ddimN" of the same function: every i-th timestep from 0, for the first whole i that gives N of them.
    case strided(Int)
    /// diffusers' "leading": multiples of ⌊trainSteps / N⌋, plus an offset.
    case leading(Int, offset: Int)

    /// Number of steps asked for.
    public var steps: Int {
        switch self {
        case .even(let counts): counts.each.reduce(0) { Checked.add($0, $1) ?? Int.max }
        case .strided(let steps), .leading(let steps, _): steps
        }
    }

    /// The timesteps kept out of `trainSteps`, ascending. Throws `invalidArgument` when they do not exist.
    public func timesteps(of trainSteps: Int) throws(DiffError) -> [Int] {
        guard trainSteps > 0, steps > 0, steps <= trainSteps else {
            throw DiffError(.invalidArgument, "steps must be 1...\(trainSteps), found \(steps)")
        }
        switch self {
        case .even(let counts): return try Self.even(counts, trainSteps)
        case .strided(let steps): return try Self.strided(steps, trainSteps)
        case .leading(let steps, let offset):
            // Whole strides: where N does not divide trainSteps, the noisiest timesteps are never visited.
            let stride = trainSteps / steps
            let last = (steps - 1) * stride
            guard offset >= 0, offset < trainSteps - last else {
                throw DiffError(.invalidArgument, "a steps offset of \(offset) leaves the \(trainSteps) timesteps")
            }
            return Indices(below: steps).map { $0 * stride + offset }
        }
    }

    private static func even(_ counts: [Int], _ trainSteps: Int) throws(DiffError) -> [Int] {
        guard counts.allSatisfy({ $0 >= 0 }) else {
            throw DiffError(.invalidArgument, "a section cannot have fewer than no steps, found \(counts)")
        }
        var kept: [Int] = []
        var start = 0
        for (index, count) in counts.numbered {
            // What does not divide evenly goes to the first sections, one timestep each.
            let size = trainSteps / counts.count + (index < trainSteps % counts.count ? 1 : 0)
            guard size >= count else {
                throw DiffError(.invalidArgument, "a section of \(size) timesteps cannot be cut into \(count)")
            }
            // Both ends are included, hence size - 1 and count - 1; a single step takes the cleanest timestep. The position is accumulated
            // by addition and rounded half to even, as in Python: 7 of 1000 steps meet exact halves (166.5 becomes 166, 832.5 becomes
            // 832), and multiplying instead of adding could move a timestep by one.
            let stride = count > 1 ? Double(size - 1) / Double(count - 1) : 1
            var position = 0.0
            for _ in Indices(below: count) {
                kept.append(start + Int(position.rounded(.toNearestOrEven)))
                position += stride
            }
            start += size
        }
        return kept
    }

    private static func strided(_ steps: Int, _ trainSteps: Int) throws(DiffError) -> [Int] {
        // len(range(0, trainSteps, stride)) is the quotient rounded up; the smallest stride wins. Not every N has one.
        for stride in 1...max(1, trainSteps) where (trainSteps + stride - 1) / stride == steps {
            return Indices(below: steps).map { $0 * stride }
        }
        throw DiffError(.invalidArgument, "no whole stride gives \(steps) of \(trainSteps) timesteps")
    }
}
