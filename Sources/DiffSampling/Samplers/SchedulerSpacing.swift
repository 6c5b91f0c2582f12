import DiffTensor

/// How a scheduler of diffusers chooses its timesteps (`timestep_spacing`).
public enum SchedulerSpacing: String, Sendable, CaseIterable {
    /// Multiples of a whole stride, plus an offset: never the noisiest timestep.
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
            // As NumPy's arange computes them, since halves are rounded to even.
            let total = Double(trainSteps)
            let stride = (total - total / Double(steps)) - total
            return Indices(below: steps).map { Self.rounded(total + Double($0) * stride) &- 1 }
        case .linspace:
            let stride = Double(trainSteps &- 1) / Double(max(1, steps &- 1))
            return Indices(below: steps).map { Self.rounded(Double(steps &- 1 &- $0) * stride) }
        }
    }

    /// The same as real numbers: `linspace` is not rounded. Of the samplers on σ.
    func realTimesteps(_ steps: Int, of trainSteps: Int, offset: Int) throws(DiffError) -> [Double] {
        guard self == .linspace else {
            return try timesteps(steps, of: trainSteps, offset: offset).map { Double($0) }
        }
        try Self.check(steps, 1...max(1, trainSteps))
        let stride = Double(trainSteps &- 1) / Double(max(1, steps &- 1))
        return Indices(below: steps).map { min(Double(trainSteps &- 1), Double(steps &- 1 &- $0) * stride) }
    }

    /// The same for multistep solvers, which divide by one step more, so that the last one has somewhere to go.
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
