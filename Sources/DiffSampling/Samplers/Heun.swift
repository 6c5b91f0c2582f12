import DiffTensor

/// Heun's method on σ (Karras et al. 2022): Euler's step, then the mean of the slopes at both of its ends. Two evaluations a step, but
/// one in the last, which ends at σ = 0.
struct HeunSampler: GridSampler {
    static let entry = SamplerEntry(
        "heun", "HeunDiscreteScheduler", keys: keys, process: .stableLinear, make: make)
    static let karras = SamplerEntry(
        "heun_karras", "HeunDiscreteScheduler", keys: keys, process: .stableLinear,
        adjust: { $0.usesKarrasSigmas = true }, make: make)

    private static let keys = SamplerEntry.sigmaKeys + ["clip_sample", "clip_sample_range"]

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    /// The next evaluation: even ones predict, odd ones correct the step before.
    var position = 0
    private let prediction: PredictionType
    private let clipping: SampleClipping?
    /// State and slope at the beginning of the step.
    private var kept: (state: Tensor, slope: Tensor)?

    var name: String { "heun" }
    var evaluationsPerStep: Int { 2 }
    var calls: CallCount { .exactly(2 &* grid.steps &- 1) }
    var timesteps: [Double] { Indices(below: calls.limit).map { grid.timesteps.at(($0 &+ 1) / 2) ?? 0 } }

    private static let make: SamplerEntry.Make = { (c, steps, _) throws(DiffError) in
        let process = c.process()
        return HeunSampler(
            grid: try c.realGrid(steps.counted(by: "heun"), process, c.warp), spacing: c.spacing ?? .linspace,
            prediction: process.prediction, clipping: c.clipping(default: false))
    }

    private init(
        grid: SigmaGrid, spacing: SchedulerSpacing, prediction: PredictionType, clipping: SampleClipping?
    ) {
        (self.grid, self.spacing, self.prediction, self.clipping) = (grid, spacing, prediction, clipping)
    }

    var level: SigmaLevel { SigmaLevel(sigma: grid.interval((position &+ 1) / 2).0) }

    var call: SamplerCall? {
        guard position < calls.limit else { return nil }
        return grid.timesteps.at((position &+ 1) / 2).map {
            SamplerCall(
                timestep: $0, step: position / 2, stage: position % 2, inputScale: level.inputScale)
        }
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (level, (sigma, next)) = (level, grid.interval(position / 2))
        let corrects = position % 2 == 1
        position &+= 1
        var clean = try level.clean(x, output, prediction, run)
        if let clipping { clean = try clipping.apply(clean, run) }
        let slope = try level.derivative(x, clean, run)
        let distance = Float(next - sigma)
        guard corrects, let (state, first) = kept else {
            kept = next > 0 ? (x, slope) : nil
            return SamplerStep(try run.combine(1, x, distance, slope), predictedClean: clean)
        }
        kept = nil
        let mean = try run.combine(0.5, first, 0.5, slope)
        return SamplerStep(try run.combine(1, state, distance, mean), predictedClean: clean)
    }
}
