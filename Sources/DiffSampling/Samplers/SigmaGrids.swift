import DiffTensor
import Glibc

extension SchedulerConfiguration {
    /// How σ are spread.
    var warp: SigmaGrid.Spread {
        if usesKarrasSigmas == true { return .karras }
        return usesExponentialSigmas == true ? .exponential : .timesteps
    }

    /// The grid of Euler, Euler ancestral, Heun, LMS and DPM++ SDE: real timesteps; warped grids run between the ends of the spaced one
    /// unless others are given, so that they depend on the spacing.
    ///
    /// The reference keeps float32 tables. Those in double precision change results by up to 4e-6 (7e-5 in runs from σ = 4096), relative.
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
            // steps + 1 levels and the final one: the reference makes them so and never uses the last; timesteps stay as spaced.
            levels = SigmaGrid.Spread.logLinear.levels(steps &+ 1, from: table.last, to: table.first)
        case .karras, .exponential:
            levels = spread.levels(steps, from: sigmaMax ?? spaced.first ?? 1, to: sigmaMin ?? spaced.last ?? 1)
            timesteps = levels.each.map { table.timestep(of: $0) }
        }
        levels.append(endsAtSigmaMin ? table.first : 0)
        return SigmaGrid(sigmas: levels, timesteps: timesteps)
    }

    /// The grid of the multistep solvers: whole timesteps; warped grids run between the ends of the whole table, whatever the spacing. After
    /// rounding timesteps may repeat at the clean end, so steps are told apart by their position, never by their timestep.
    func solverGrid(_ steps: Int, _ process: DiffusionProcess, keepsWarpedEnd: Bool) throws(DiffError) -> SigmaGrid {
        let table = try SigmaTable(process)
        var timesteps = try (spacing ?? .linspace).solverTimesteps(
            steps, of: process.trainSteps, offset: stepsOffset ?? 0
        ).each.map { Double($0) }
        var levels = timesteps.each.map { table.sigma(at: $0) }
        let isWarped = warp != .timesteps
        if isWarped {
            levels = warp.levels(steps, from: table.last, to: table.first)
            // As the reference does: it rounds Karras' timesteps, except in DPM++ with the cosine schedule, and converts all others to
            // integers, which truncates.
            let truncates = warp == .exponential || (!keepsWarpedEnd && process.betaSchedule == .squaredCosine)
            timesteps = levels.each.map {
                table.timestep(of: $0).rounded(truncates ? .towardZero : .toNearestOrEven)
            }
        }
        // UniPC ends a warped grid at the grid's own last σ (a step that changes nothing), DPM++ at the table's first.
        let least = isWarped && keepsWarpedEnd ? levels.pair(at: steps &- 1).0 : table.first
        levels.append(endsAtSigmaMin == true ? least : 0)
        return SigmaGrid(sigmas: levels, timesteps: timesteps)
    }
}
