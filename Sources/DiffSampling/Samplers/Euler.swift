import DiffTensor
import Glibc

/// Euler's method on σ (Karras et al. 2022, without churn): x' = x + (σ' - σ) (x - x0) / σ.
struct EulerSampler: GridSampler {
    static let entry = SamplerEntry(
        "euler", "EulerDiscreteScheduler", keys: keys, make: make)
    static let karras = SamplerEntry(
        "euler_karras", "EulerDiscreteScheduler", keys: keys, adjust: { $0.usesKarrasSigmas = true }, make: make)

    private static let keys =
        SamplerEntry.sigmaKeys + [
            "sigma_min", "sigma_max", "final_sigmas_type", "interpolation_type", "timestep_type",
            "rescale_betas_zero_snr",
        ]

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    var position = 0
    private let prediction: PredictionType

    var name: String { "euler" }

    private static let make: SamplerEntry.Make = { (c, steps, _) throws(DiffError) in
        let process = c.process()
        var grid = try c.realGrid(
            steps.counted(by: "euler"), process, c.isLogLinear == true && c.warp == .timesteps ? .logLinear : c.warp,
            from: c.sigmaMax, to: c.sigmaMin, endsAtSigmaMin: c.endsAtSigmaMin == true)
        // Stable Video Diffusion's network is told ¼ ln σ.
        if c.isContinuous == true, process.prediction == .velocity {
            grid = SigmaGrid(
                sigmas: grid.sigmas, timesteps: Indices(below: grid.steps).map { 0.25 * log(grid.interval($0).0) })
        }
        return EulerSampler(grid: grid, spacing: c.spacing ?? .linspace, prediction: process.prediction)
    }

    private init(grid: SigmaGrid, spacing: SchedulerSpacing, prediction: PredictionType) {
        (self.grid, self.spacing, self.prediction) = (grid, spacing, prediction)
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (level, (sigma, next)) = (level, grid.interval(position))
        position &+= 1
        let clean = try level.clean(x, output, prediction, run)
        let derivative = try level.derivative(x, clean, run)
        return SamplerStep(try run.combine(1, x, Float(next - sigma), derivative), predictedClean: clean)
    }
}
