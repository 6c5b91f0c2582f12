import DiffTensor
import Glibc

/// DPM-Solver++ (Lu et al. 2022), multistep: predictions of the clean image at the last one, two or three levels; with noise of the
/// reverse process in the SDE form.
///
/// With h = λ' - λ and E = e⁻ʰ the first order is x' = S'/S x - a' (E - 1) x0. The higher ones add finite differences of x0, which stand
/// for its derivatives in λ. Source: `dpm_solver_first_order_update` and `multistep_dpm_solver_second_order_update`, `…_third_order_update` of
/// diffusers.
struct DPMSolverMultistepSampler: GridSampler {
    static let entries = [
        SamplerEntry(
            "dpmpp_2m", schedulerClass, keys: keys, adjust: { $0.algorithm = .deterministic }, make: make),
        SamplerEntry(
            "dpmpp_2m_karras", schedulerClass, keys: keys,
            adjust: {
                $0.algorithm = .deterministic
                $0.usesKarrasSigmas = true
            }, make: make),
        SamplerEntry(
            "dpmpp_2m_sde", schedulerClass, keys: keys, adjust: { $0.algorithm = .stochastic }, make: make),
        SamplerEntry(
            "dpmpp_2m_sde_karras", schedulerClass, keys: keys,
            adjust: {
                $0.algorithm = .stochastic
                $0.usesKarrasSigmas = true
            }, make: make),
    ]

    private static let schedulerClass = "DPMSolverMultistepScheduler"
    private static let keys =
        SamplerEntry.sigmaKeys + [
            "solver_order", "solver_type", "algorithm_type", "lower_order_final", "euler_at_final", "final_sigmas_type",
            "rescale_betas_zero_snr",
        ]

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    var position = 0
    private let prediction: PredictionType
    private let algorithm: SchedulerConfiguration.Algorithm
    private let order: Int
    private let isHeun: Bool
    private let lowersOrder: Bool
    private let endsFirstOrder: Bool
    private var images: TensorHistory

    var name: String { "dpmpp_2m" }
    var initialNoiseScale: Double { 1 }
    var draws: Int { algorithm == .stochastic ? grid.steps : 0 }

    private static let make: SamplerEntry.Make = { (c, steps, _) throws(DiffError) in
        let process = c.process()
        return try DPMSolverMultistepSampler(
            c, c.solverGrid(steps.counted(by: "dpmpp_2m"), process, keepsWarpedEnd: false), process.prediction)
    }

    private init(
        _ c: SchedulerConfiguration, _ grid: SigmaGrid, _ prediction: PredictionType
    ) throws(DiffError) {
        (self.grid, self.prediction, spacing) = (grid, prediction, c.spacing ?? .linspace)
        (algorithm, order) = (c.algorithm, c.solverOrder ?? 2)
        guard (1...3).contains(order) else {
            throw DiffError(.unsupported, "solver_order must be 1, 2 or 3, found \(order)")
        }
        isHeun = c.solverType == .heun
        guard algorithm == .deterministic || (order < 3 && !isHeun) else {
            throw DiffError(
                .unsupported, "sde-dpmsolver++ has solver_order 1 or 2 and solver_type midpoint here; set them so")
        }
        // 15 is the reference's bound for few steps. A last step to σ = 0 has h = ∞, for which only the first order has finite terms.
        lowersOrder = (c.lowersFinalOrder ?? true) && grid.steps < 15
        endsFirstOrder = c.endsInEuler == true || c.endsAtSigmaMin != true
        images = TensorHistory(limit: order)
    }

    var level: SigmaLevel { SigmaLevel(sigma: 0) }
    private func solverLevel(_ step: Int) -> SolverLevel { SolverLevel(sigma: grid.sigmas.at(step) ?? 0) }

    var call: SamplerCall? { grid.timesteps.at(position).map { SamplerCall(timestep: $0, step: position) } }

    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try solverLevel(position).noised(clean, noise, run)
    }

    /// The order of the next step: at most what the history has; at the end lower, where few steps make a high one unstable.
    private var stepOrder: Int {
        let left = grid.steps &- position
        let known = min(order, images.count)
        if left == 1, endsFirstOrder || lowersOrder { return 1 }
        return left == 2 && lowersOrder ? min(known, 2) : known
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (now, next) = (solverLevel(position), solverLevel(position &+ 1))
        let clean = try now.clean(x, output, prediction, run)
        images.push(clean)
        let stepOrder = stepOrder
        let weights = weights(stepOrder, now, next)
        position &+= 1
        var state = try run.combine(Float(weights.state), x, Float(weights.newest), clean)
        if stepOrder > 1, let second = images[1] { state = try run.combine(1, state, Float(weights.second), second) }
        if stepOrder > 2, let third = images[2] { state = try run.combine(1, state, Float(weights.third), third) }
        if algorithm == .stochastic { state = try run.combine(1, state, Float(weights.noise), draw()) }
        return SamplerStep(state, predictedClean: clean)
    }

    /// What the state, the predictions and the noise are multiplied by in a step of `order` from `now` to `next`.
    private func weights(
        _ order: Int, _ now: SolverLevel, _ next: SolverLevel
    ) -> (state: Double, newest: Double, second: Double, third: Double, noise: Double) {
        // At σ = 0, h is ∞ and the decay 0: the first-order step then gives x0 itself.
        let h = next.lambda - now.lambda
        let decay = exp(-h)
        let ratio = next.deviation / now.deviation
        // The distance to the evaluation before, in units of this step.
        let r0 = (now.lambda - solverLevel(position &- 1).lambda) / h
        if algorithm == .stochastic {
            let gain = next.alpha * (1 - decay * decay)
            let slope = order > 1 ? 0.5 * gain / r0 : 0
            return (
                ratio * decay, gain + slope, -slope, 0, next.deviation * max(0, 1 - decay * decay).squareRoot()
            )
        }
        let gain = -next.alpha * (decay - 1)
        // Weight of the first difference: ½ the gain by the midpoint rule, the exact integral of a linear x0 by Heun's.
        let first = next.alpha * ((decay - 1) / h + 1)
        guard order > 1 else { return (ratio, gain, 0, 0, 0) }
        guard order > 2 else {
            let slope = (isHeun ? first : 0.5 * gain) / r0
            return (ratio, gain + slope, -slope, 0, 0)
        }
        // Differences D1 = d0 + r0 / (r0 + r1) (d0 - d1) and D2 = (d0 - d1) / (r0 + r1) with d0 = (m0 - m1) / r0, d1 = (m1 - m2) / r1,
        // collected by the predictions m.
        let r1 = (solverLevel(position &- 1).lambda - solverLevel(position &- 2).lambda) / h
        let second = -next.alpha * ((decay - 1 + h) / (h * h) - 0.5)
        let mixed = (first * r0 + second) / (r0 + r1)
        let (a, b) = ((first + mixed) / r0, mixed / r1)
        return (ratio, gain + a, -a - b, b, 0)
    }
}
