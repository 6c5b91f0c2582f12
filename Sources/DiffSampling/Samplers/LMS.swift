import DiffTensor

/// Linear multistep (Adams-Bashforth) on σ: the slopes of up to four evaluations, weighted by the exact integrals of the polynomials
/// through them.
struct LMSSampler: GridSampler {
    static let entry = SamplerEntry("lms", "LMSDiscreteScheduler", keys: SamplerEntry.sigmaKeys, make: make)
    static let karras = SamplerEntry(
        "lms_karras", "LMSDiscreteScheduler", keys: SamplerEntry.sigmaKeys, adjust: { $0.usesKarrasSigmas = true },
        make: make)

    let grid: SigmaGrid
    let spacing: SchedulerSpacing
    var position = 0
    private let prediction: PredictionType
    /// Weights of the slopes in each step, those of the newest first.
    private let weights: [[Double]]
    private var slopes = TensorHistory(limit: 4)

    var name: String { "lms" }

    private static let make: SamplerEntry.Make = { (c, steps, _) throws(DiffError) in
        let process = c.process()
        return LMSSampler(
            grid: try c.realGrid(steps.counted(by: "lms"), process, c.warp), spacing: c.spacing ?? .linspace,
            prediction: process.prediction)
    }

    private init(grid: SigmaGrid, spacing: SchedulerSpacing, prediction: PredictionType) {
        (self.grid, self.spacing, self.prediction) = (grid, spacing, prediction)
        weights = Indices(below: grid.steps).map { Self.weights($0, grid) }
    }

    /// The integrals over the step of the Lagrange polynomials through the levels of up to four steps.
    private static func weights(_ step: Int, _ grid: SigmaGrid) -> [Double] {
        let order = min(step &+ 1, 4)
        let nodes = Indices(below: order).map { grid.interval(step &- $0).0 }
        let (from, to) = grid.interval(step)
        return nodes.numbered.map { j, node in
            // Coefficients of Π (τ - node_i) / (node_j - node_i), lowest first.
            var polynomial = [1.0]
            for (i, other) in nodes.numbered where i != j {
                let (shifted, scale) = ([0] + polynomial, node - other)
                polynomial = shifted.numbered.map { ($0.element - other * (polynomial.at($0.offset) ?? 0)) / scale }
            }
            var (integral, high, low) = (0.0, 1.0, 1.0)
            for (power, coefficient) in polynomial.numbered {
                (high, low) = (high * to, low * from)
                integral += coefficient * (high - low) / Double(power &+ 1)
            }
            return integral
        }
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (level, weights) = (level, weights.at(position) ?? [])
        position &+= 1
        let clean = try level.clean(x, output, prediction, run)
        slopes.push(try level.derivative(x, clean, run))
        var state = x
        // A run that begins inside the list has fewer slopes than the step has weights.
        for (age, weight) in weights.numbered {
            if let slope = slopes[age] { state = try run.combine(1, state, Float(weight), slope) }
        }
        return SamplerStep(state, predictedClean: clean)
    }
}
