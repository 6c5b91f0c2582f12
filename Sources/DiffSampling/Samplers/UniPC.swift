import DiffTensor

/// UniPC (Zhao et al. 2023): a multistep predictor, and a corrector that repeats the step before with the prediction just evaluated at its
/// end, so that it needs no evaluation of its own. Source: `UniPCMultistepScheduler.step` of diffusers, which corrects before it
/// predicts, and does not evaluate the corrected state again.
struct UniPCSampler: GridSampler {
    static let entry = SamplerEntry("unipc", schedulerClass, keys: keys, make: make)
    static let karras = SamplerEntry(
        "unipc_karras", schedulerClass, keys: keys, adjust: { $0.usesKarrasSigmas = true }, make: make)

    private static let schedulerClass = "UniPCMultistepScheduler"
    private static let keys =
        SamplerEntry.sigmaKeys + [
            "solver_order", "solver_type", "predict_x0", "lower_order_final", "disable_corrector", "final_sigmas_type",
            "rescale_betas_zero_snr",
        ]

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    var position = 0
    private let prediction: PredictionType
    private let solver: UniPCSolver
    /// Steps whose result is not corrected.
    private let uncorrected: [Int]
    /// Predictions of x0, or of ε, newest first.
    private var outputs: TensorHistory
    /// The state before the last step, and that step's order.
    private var before: (state: Tensor, order: Int)?

    var name: String { "unipc" }
    var initialNoiseScale: Double { 1 }

    private static let make: SamplerEntry.Make = { (c, steps, _) throws(DiffError) in
        let process = c.process()
        let grid = try c.solverGrid(steps.counted(by: "unipc"), process, keepsWarpedEnd: true)
        let solver = try UniPCSolver(c, grid)
        return UniPCSampler(
            grid: grid, spacing: c.spacing ?? .linspace, prediction: process.prediction, solver: solver,
            uncorrected: c.uncorrectedSteps ?? [])
    }

    private init(
        grid: SigmaGrid, spacing: SchedulerSpacing, prediction: PredictionType, solver: UniPCSolver, uncorrected: [Int]
    ) {
        (self.grid, self.spacing, self.prediction) = (grid, spacing, prediction)
        (self.solver, self.uncorrected) = (solver, uncorrected)
        outputs = TensorHistory(limit: solver.order)
    }

    var level: SigmaLevel { SigmaLevel(sigma: 0) }
    var call: SamplerCall? { grid.timesteps.at(position).map { SamplerCall(timestep: $0, step: position) } }

    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try solver.level(position).noised(clean, noise, run)
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let now = solver.level(position)
        let clean = try now.clean(x, output, prediction, run)
        let model = solver.predictsClean ? clean : try now.noise(x, output, prediction, run)
        var x = x
        if let before, !uncorrected.contains(position &- 1) {
            let weights = solver.corrector(position &- 1, order: before.order)
            x = try combined(weights, before.state, model, run)
        }
        outputs.push(model)
        let order = solver.stepOrder(position, known: outputs.count)
        before = (x, order)
        let weights = solver.predictor(position, order: order)
        position &+= 1
        return SamplerStep(try combined(weights, x, nil, run), predictedClean: clean)
    }

    /// The state, the outputs known so far, and the new one, each times its weight.
    private func combined(
        _ weights: UniPCSolver.Weights, _ state: Tensor, _ fresh: Tensor?, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let newest = outputs[0] else { return state }
        var sum = try run.combine(Float(weights.state), state, Float(weights.outputs.0), newest)
        if weights.outputs.1 != 0, let output = outputs[1] {
            sum = try run.combine(1, sum, Float(weights.outputs.1), output)
        }
        if weights.outputs.2 != 0, let output = outputs[2] {
            sum = try run.combine(1, sum, Float(weights.outputs.2), output)
        }
        if let fresh { sum = try run.combine(1, sum, Float(weights.fresh), fresh) }
        return sum
    }
}
