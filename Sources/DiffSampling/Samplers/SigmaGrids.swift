import DiffTensor
import Glibc

extension SchedulerConfiguration {
    /// How σ are spread.
    var warp: SigmaGrid.Spread {
        if usesKarrasSigmas == true { return .karras }
        return usesExponentialSigmas == true ? .exponential : .timesteps
    }

    /// The grid of Euler, Euler ancestral, Heun, LMS and DPM++ SDE: real timesteps; warped grids run between the ends of the spaced one
    /// unless others are given.
    func realGrid(
        _ steps: Int, _ process: DiffusionProcess, _ spread: SigmaGrid.Spread, from sigmaMax: Double? = nil,
        to sigmaMin: Double? = nil, endsAtSigmaMin: Bool = false
    ) throws(DiffError) -> SigmaGrid {
        let table = try SigmaTable(process)
        var timesteps = try (spacing ?? .linspace).realTimesteps(
            steps, of: process.trainSteps, offset: stepsOffset ?? 0)
        let spaced = timesteps.each.map { table.sigma(at: $0) }
        var levels: [Double]
        switch spread {
        case .timesteps: levels = spaced
        case .logLinear:
            // One level more than steps; the reference never uses the last one.
            levels = SigmaGrid.Spread.logLinear.levels(steps &+ 1, from: table.last, to: table.first)
        case .karras, .exponential:
            levels = spread.levels(steps, from: sigmaMax ?? spaced.first ?? 1, to: sigmaMin ?? spaced.last ?? 1)
            timesteps = levels.each.map { table.timestep(of: $0) }
        }
        levels.append(endsAtSigmaMin ? table.first : 0)
        return SigmaGrid(sigmas: levels, timesteps: timesteps)
    }

    /// The grid of the multistep solvers: whole timesteps; warped grids run between the ends of the whole table.
    func solverGrid(_ steps: Int, _ process: DiffusionProcess, keepsWarpedEnd: Bool) throws(DiffError) -> SigmaGrid {
        let table = try SigmaTable(process)
        var timesteps = try (spacing ?? .linspace).solverTimesteps(
            steps, of: process.trainSteps, offset: stepsOffset ?? 0
        ).each.map { Double($0) }
        var levels = timesteps.each.map { table.sigma(at: $0) }
        let isWarped = warp != .timesteps
        if isWarped {
            levels = warp.levels(steps, from: table.last, to: table.first)
            // The reference rounds Karras' timesteps, not those of the cosine schedule in DPM++, and truncates all others.
            let truncates = warp == .exponential || (!keepsWarpedEnd && process.betaSchedule == .squaredCosine)
            timesteps = levels.each.map {
                table.timestep(of: $0).rounded(truncates ? .towardZero : .toNearestOrEven)
            }
        }
        let least = isWarped && keepsWarpedEnd ? levels.pair(at: steps &- 1).0 : table.first
        levels.append(endsAtSigmaMin == true ? least : 0)
        return SigmaGrid(sigmas: levels, timesteps: timesteps)
    }
}
