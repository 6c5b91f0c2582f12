import DiffTensor

/// DPM-Solver++ for the reverse SDE, second order, single step: an evaluation at the geometric mean of both levels decides the whole step.
///
/// The noise of both halves belongs to one Brownian motion in σ: two independent draws make the increment to the middle and that of the
/// whole step. The reference (`DPMSolverSDEScheduler`) takes its increments from torchsde's interval tree, which the plain
/// seed does not reproduce: the distribution is the same, the numbers are not.
struct DPMSolverSDESampler: GridSampler {
    static let entry = SamplerEntry(
        "dpmpp_sde", schedulerClass, keys: SamplerEntry.sigmaKeys, process: .stableLinear, make: make)
    static let karras = SamplerEntry(
        "dpmpp_sde_karras", schedulerClass, keys: SamplerEntry.sigmaKeys, process: .stableLinear,
        adjust: { $0.usesKarrasSigmas = true }, make: make)

    private static let schedulerClass = "DPMSolverSDEScheduler"

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    /// The next evaluation: even ones at the levels of the grid, odd ones between.
    var position = 0
    private let prediction: PredictionType
    /// Timesteps of the levels between.
    private let middles: [Double]
    /// State and noise of the step's first half.
    private var kept: (state: Tensor, noise: Tensor)?

    var name: String { "dpmpp_sde" }
    var evaluationsPerStep: Int { 2 }
    var calls: CallCount { .exactly(2 &* grid.steps &- 1) }
    var draws: Int { 2 &* grid.steps &- 2 }
    var timesteps: [Double] { Indices(below: calls.limit).map { timestep($0) } }

    private static let make: SamplerEntry.Make = { (c, steps, _) throws(DiffError) in
        let process = c.process()
        return try DPMSolverSDESampler(
            grid: c.realGrid(steps.counted(by: "dpmpp_sde"), process, c.warp), spacing: c.spacing ?? .linspace,
            prediction: process.prediction, table: SigmaTable(process))
    }

    private init(grid: SigmaGrid, spacing: SchedulerSpacing, prediction: PredictionType, table: SigmaTable) {
        (self.grid, self.spacing, self.prediction) = (grid, spacing, prediction)
        middles = Indices(below: grid.steps &- 1).map { table.timestep(of: Self.middle(grid.interval($0))) }
    }

    private static func middle(_ ends: (Double, Double)) -> Double { (ends.0 * ends.1).squareRoot() }

    private func timestep(_ call: Int) -> Double {
        (call % 2 == 0 ? grid.timesteps.at(call / 2) : middles.at(call / 2)) ?? 0
    }

    var level: SigmaLevel {
        let ends = grid.interval(position / 2)
        return SigmaLevel(sigma: position % 2 == 0 ? ends.0 : Self.middle(ends))
    }

    var call: SamplerCall? {
        guard position < calls.limit else { return nil }
        return SamplerCall(
            timestep: timestep(position), step: position / 2, stage: position % 2, inputScale: level.inputScale)
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (level, ends, isSecond) = (level, grid.interval(position / 2), position % 2 == 1)
        position &+= 1
        let clean = try level.clean(x, output, prediction, run)
        guard ends.1 > 0 else { return SamplerStep(clean, predictedClean: clean) }
        let middle = Self.middle(ends)
        guard isSecond, let (state, first) = kept else {
            let noise = try draw()
            kept = (x, noise)
            return SamplerStep(try Self.moved(x, clean, noise, from: ends.0, to: middle, run), predictedClean: clean)
        }
        kept = nil
        // W(s) - W(s') is the sum of the increments over [s, m] and [m, s'], independent and each of a variance equal to its length;
        // divided by the root of
        // the whole length it is normal again, and correlated with the first half's as it must be.
        let whole = ends.0 - ends.1
        let noise = try run.combine(
            Float(((ends.0 - middle) / whole).squareRoot()), first, Float(((middle - ends.1) / whole).squareRoot()),
            draw())
        return SamplerStep(try Self.moved(state, clean, noise, from: ends.0, to: ends.1, run), predictedClean: clean)
    }

    /// An ancestral step from σ to τ: down to √(τ² - u²) without noise, then noise of the deviation u, that of the reverse process.
    private static func moved(
        _ x: Tensor, _ clean: Tensor, _ noise: Tensor, from sigma: Double, to target: Double, _ run: Run
    ) throws(DiffError) -> Tensor {
        let variance = target * target * max(0, sigma * sigma - target * target) / (sigma * sigma)
        let up = min(target, variance.squareRoot())
        let share = max(0, target * target - up * up).squareRoot() / sigma
        let mean = try run.combine(Float(share), x, Float(1 - share), clean)
        return try run.combine(1, mean, Float(up), noise)
    }
}
