import DiffTensor

/// A sampler of a flow on a grid of σ.
protocol FlowMatchSampler: Sampler {
    var grid: SigmaGrid { get }
    /// The level of the next evaluation.
    var sigma: Double { get }
}

extension FlowMatchSampler {
    var steps: Int { grid.steps }
    var sigmas: [Double] { grid.sigmas }

    /// All but ⌊steps - steps · strength⌋ steps are made: what is left over of a step is one more, unlike in other pipelines.
    func firstStep(strength: Double) -> Int {
        let made = min(Double(steps) * strength, Double(steps))
        return Checked.integer((Double(steps) - made).rounded(.down)) ?? 0
    }

    /// (1 - σ) clean + σ noise
    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.combine(1 - Float(sigma), clean, Float(sigma), noise)
    }

    /// The clean image that the velocity `v` means for `x`: x - σ v.
    func clean(_ x: Tensor, _ v: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.combine(1, x, Float(-sigma), v)
    }
}

/// Euler's method on a flow: x' = x + (σ' - σ) v, or with new noise in every step x' = (1 - σ') x0 + σ' z. Source:
/// `FlowMatchEulerDiscreteScheduler` of diffusers.
struct FlowMatchEulerSampler: FlowMatchSampler {
    let grid: SigmaGrid
    let isStochastic: Bool
    private var position = 0

    init(grid: SigmaGrid, isStochastic: Bool) { (self.grid, self.isStochastic) = (grid, isStochastic) }

    var name: String { FlowMatchMethod.euler.rawValue }
    var calls: CallCount { .exactly(grid.steps) }
    var timesteps: [Double] { grid.timesteps }
    /// One a step, which the last multiplies by 0.
    var draws: Int { isStochastic ? grid.steps : 0 }
    var sigma: Double { grid.interval(position).0 }

    var call: SamplerCall? { grid.timesteps.at(position).map { SamplerCall(timestep: $0, step: position) } }

    mutating func start(at call: Int) { position = call }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard position < grid.steps else { throw exhausted }
        let v = try run.channels(output, 0, x.shape[1])
        let (clean, (now, next)) = (try clean(x, v, run), grid.interval(position))
        position &+= 1
        let state =
            isStochastic
            ? try run.combine(1 - Float(next), clean, Float(next), draw())
            : try run.combine(1, x, Float(next) - Float(now), v)
        return SamplerStep(state, predictedClean: clean)
    }
}

/// Heun's method on a flow: Euler's step, then the mean of the velocities at both of its ends. Two evaluations a step, but one in the last,
/// which ends at σ = 0. Source: `FlowMatchHeunDiscreteScheduler` of diffusers.
struct FlowMatchHeunSampler: FlowMatchSampler {
    let grid: SigmaGrid
    /// The next evaluation: even ones predict, odd ones correct the step before.
    private var position = 0
    /// State and velocity at the beginning of the step.
    private var kept: (state: Tensor, velocity: Tensor)?

    init(grid: SigmaGrid) { self.grid = grid }

    var name: String { FlowMatchMethod.heun.rawValue }
    var calls: CallCount { .exactly(max(1, 2 &* grid.steps &- 1)) }
    var evaluationsPerStep: Int { 2 }
    var timesteps: [Double] { Indices(below: calls.limit).map { grid.timesteps.at(($0 &+ 1) / 2) ?? 0 } }
    var sigma: Double { grid.interval((position &+ 1) / 2).0 }

    var call: SamplerCall? {
        guard position < calls.limit else { return nil }
        return grid.timesteps.at((position &+ 1) / 2).map {
            SamplerCall(timestep: $0, step: position / 2, stage: position % 2)
        }
    }

    mutating func start(at call: Int) { position = call }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard position < calls.limit else { throw exhausted }
        let v = try run.channels(output, 0, x.shape[1])
        let (clean, (now, next)) = (try clean(x, v, run), grid.interval(position / 2))
        let (corrects, distance) = (position % 2 == 1, Float(next) - Float(now))
        position &+= 1
        guard corrects, let (state, first) = kept else {
            kept = next > 0 ? (x, v) : nil
            return SamplerStep(try run.combine(1, x, distance, v), predictedClean: clean)
        }
        kept = nil
        let mean = try run.combine(0.5, first, 0.5, v)
        return SamplerStep(try run.combine(1, state, distance, mean), predictedClean: clean)
    }
}
