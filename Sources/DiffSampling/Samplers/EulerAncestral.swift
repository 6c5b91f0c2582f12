import DiffTensor

/// Euler's method to a lower σ than the next one, and noise for the rest: a step of the reverse process's own variance.
struct EulerAncestralSampler: GridSampler {
    static let entry = SamplerEntry(
        "euler_a", "EulerAncestralDiscreteScheduler",
        keys: ["timestep_spacing", "steps_offset", "rescale_betas_zero_snr"]
    ) { (c, steps, _) throws(DiffError) in
        let process = c.process()
        return EulerAncestralSampler(
            grid: try c.realGrid(steps.counted(by: "euler_a"), process, .timesteps), spacing: c.spacing ?? .linspace,
            prediction: process.prediction)
    }

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    var position = 0
    private let prediction: PredictionType

    var name: String { "euler_a" }
    var draws: Int { grid.steps }

    private init(grid: SigmaGrid, spacing: SchedulerSpacing, prediction: PredictionType) {
        (self.grid, self.spacing, self.prediction) = (grid, spacing, prediction)
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (level, (sigma, next)) = (level, grid.interval(position))
        position &+= 1
        let clean = try level.clean(x, output, prediction, run)
        let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).squareRoot()
        let down = max(0, next * next - up * up).squareRoot()
        let derivative = try level.derivative(x, clean, run)
        let mean = try run.combine(1, x, Float(down - sigma), derivative)
        // diffusers draws at the last step too, where nothing is added.
        let state = try run.combine(1, mean, Float(up), draw())
        return SamplerStep(state, predictedClean: clean)
    }
}
