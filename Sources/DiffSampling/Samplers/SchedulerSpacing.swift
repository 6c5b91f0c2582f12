import DiffTensor

/// How a scheduler of diffusers chooses its timesteps (`timestep_spacing`). Source: `set_timesteps` of its scheduler classes; table 2 of
/// Lin et al. 2023 compares the spacings. All round halves to even, as NumPy does: 16 of 1000 steps meet exact halves.
public enum SchedulerSpacing: String, Sendable, CaseIterable {
    /// Multiples of a whole stride, plus an offset: in general not the noisiest timestep.
    case leading
    /// From the noisiest timestep down in equal strides: what zero terminal SNR needs.
    case trailing
    /// Equal distances with both ends.
    case linspace

    /// `steps` whole timesteps of `trainSteps`, descending: of DDIM, DDPM and PNDM, and with other spacings than `linspace` of all.
    /// Throws `invalidArgument` when there are none.
    func timesteps(_ steps: Int, of trainSteps: Int, offset: Int) throws(DiffError) -> [Int] {
        try Self.check(steps, 1...max(1, trainSteps))
        switch self {
        case .leading: return try Self.leading(steps, stride: trainSteps / max(1, steps), from: 0, offset, trainSteps)
        case .trailing:
            // As NumPy's arange computes them, so that halves fall the same way: the step is the difference of the first two values, and
            // value i is start + i · step. Exactly `steps` values: with a floating-point bound arange gives one more, -1, for some counts
            // such as 61, 103 and 121. The 1 taken off makes indices of timesteps counted from 1.
            let total = Double(trainSteps)
            let stride = (total - total / Double(steps)) - total
            return Indices(below: steps).map { Self.rounded(total + Double($0) * stride) &- 1 }
        case .linspace:
            let stride = Double(trainSteps &- 1) / Double(max(1, steps &- 1))
            return Indices(below: steps).map { Self.rounded(Double(steps &- 1 &- $0) * stride) }
        }
    }

    /// The same as real numbers: `linspace` is not rounded, and σ is interpolated between timesteps. Of the samplers on σ (Euler, Heun,
    /// LMS, DPM++ SDE).
    func realTimesteps(_ steps: Int, of trainSteps: Int, offset: Int) throws(DiffError) -> [Double] {
        guard self == .linspace else {
            return try timesteps(steps, of: trainSteps, offset: offset).map { Double($0) }
        }
        try Self.check(steps, 1...max(1, trainSteps))
        let stride = Double(trainSteps &- 1) / Double(max(1, steps &- 1))
        return Indices(below: steps).map { min(Double(trainSteps &- 1), Double(steps &- 1 &- $0) * stride) }
    }

    /// The same for multistep solvers (DPM++ 2M, UniPC), which spread one point more and drop the cleanest: the last step then goes from
    /// the point before it to σ = 0 rather than from timestep 0, where there is nothing left to remove. `trailing` has no point at 0 and
    /// needs no such correction.
    func solverTimesteps(_ steps: Int, of trainSteps: Int, offset: Int) throws(DiffError) -> [Int] {
        switch self {
        case .trailing: return try timesteps(steps, of: trainSteps, offset: offset)
        case .leading:
            try Self.check(steps, 1...max(1, trainSteps &- 1))
            return try Self.leading(steps, stride: trainSteps / max(1, steps &+ 1), from: 1, offset, trainSteps)
        case .linspace:
            try Self.check(steps, 1...max(1, trainSteps))
            let stride = Double(trainSteps &- 1) / Double(max(1, steps))
            return Indices(below: steps).map { Self.rounded(Double(steps &- $0) * stride) }
        }
    }

    private static func leading(
        _ steps: Int, stride: Int, from first: Int, _ offset: Int, _ trainSteps: Int
    ) throws(DiffError) -> [Int] {
        // The largest timestep: with the offset it must stay below trainSteps.
        let last = (steps &- 1 &+ first) &* stride
        guard offset >= 0, offset < trainSteps &- last else {
            throw DiffError(.invalidArgument, "a steps offset of \(offset) leaves the \(trainSteps) timesteps")
        }
        return Indices(below: steps).map { (steps &- 1 &- $0 &+ first) &* stride &+ offset }
    }

    private static func check(_ steps: Int, _ range: ClosedRange<Int>) throws(DiffError) {
        guard range.contains(steps) else {
            throw DiffError(.invalidArgument, "steps must be 1...\(range.upperBound), found \(steps)")
        }
    }

    /// The nearest whole number, halves to the even one. Arguments are below a million.
    private static func rounded(_ value: Double) -> Int {
        Checked.integer(value.rounded(.toNearestOrEven)) ?? 0
    }
}
