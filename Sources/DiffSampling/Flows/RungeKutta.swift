public import DiffTensor

/// A Runge-Kutta method of fixed steps, by its name in torchdiffeq.
public enum RungeKuttaMethod: String, Sendable, CaseIterable {
    case euler, midpoint, heun2, heun3
    /// The 3/8 rule, which torchdiffeq calls so.
    case rk4

    /// Where a step evaluates, in parts of it.
    var nodes: [Double] {
        switch self {
        case .euler: [0]
        case .midpoint: [0, 1 / 2]
        case .heun2: [0, 1]
        case .heun3: [0, 1 / 3, 2 / 3]
        case .rk4: [0, 1 / 3, 2 / 3, 1]
        }
    }

    /// Weights of the slopes so far in the state of each further evaluation, and at last in the step.
    var rows: [[Double]] {
        switch self {
        case .euler: [[1]]
        case .midpoint: [[1 / 2], [0, 1]]
        case .heun2: [[1], [1 / 2, 1 / 2]]
        case .heun3: [[1 / 3], [0, 2 / 3], [1 / 4, 0, 3 / 4]]
        case .rk4: [[1 / 3], [-1 / 3, 1], [1, -1, 1], [1 / 8, 3 / 8, 3 / 8, 1 / 8]]
        }
    }
}

/// The flow's ordinary differential equation dx/dt = v(x, t) in fixed steps.
public struct FlowODESampler: Sampler {
    /// The name in statistics.
    public let name: String
    private let process: FlowProcess
    private let times: [Double]
    private let nodes: [Double], rows: [[Double]]
    /// The next step, and the evaluation in it.
    private var position = 0, stage = 0
    private var begin: Tensor?
    private var slopes = TensorHistory(limit: 4)

    /// A sampler on `points` equally spaced times, which is one step fewer, from noise to data; from data to noise when `reverse`.
    /// Throws `invalidArgument`.
    public init(
        _ method: RungeKuttaMethod, points: Int, process: FlowProcess = .sit, reverse: Bool = false
    ) throws(DiffError) {
        let (first, last) = process.ends
        times = try FlowTimes.spaced(points, from: reverse ? last : first, to: reverse ? first : last)
        (name, self.process, nodes, rows) = (method.rawValue, process, method.nodes, method.rows)
    }

    /// Number of sampling steps.
    public var steps: Int { times.count &- 1 }
    /// As many as the method has nodes.
    public var evaluationsPerStep: Int { nodes.count }
    /// Number of evaluations, or its bound.
    public var calls: CallCount { .exactly(steps &* nodes.count) }
    /// What the network is told in each evaluation.
    public var timesteps: [Double] {
        var all: [Double] = []
        for step in Indices(below: steps) {
            for stage in Indices(below: nodes.count) { all.append(time(step, stage)) }
        }
        return all
    }

    private func interval(_ step: Int) -> (Double, Double) { (times.at(step) ?? 1, times.at(step &+ 1) ?? 1) }

    private func time(_ step: Int, _ stage: Int) -> Double {
        let (from, to) = interval(step)
        return from + (nodes.at(stage) ?? 0) * (to - from)
    }

    /// The evaluation to make next.
    public var call: SamplerCall? {
        guard position < steps else { return nil }
        return SamplerCall(timestep: time(position, stage), step: position, stage: stage)
    }

    /// Continues from a later evaluation of a fresh run.
    public mutating func start(at call: Int) { (position, stage) = (call / max(1, nodes.count), 0) }

    /// A state before the next evaluation.
    public func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let p = process.path.at(time(position, 0))
        return try run.combine(Float(p.alpha), clean, Float(p.sigma), noise)
    }

    /// The state that follows from an evaluation.
    public mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (from, to) = interval(position)
        let begin = begin ?? x
        slopes.push(try process.velocity(x, output, time(position, stage), run))
        var state = begin
        for (index, weight) in (rows.at(stage) ?? []).numbered where weight != 0 {
            if let slope = slopes[stage &- index] {
                state = try run.combine(1, state, Float((to - from) * weight), slope)
            }
        }
        stage &+= 1
        let isDone = stage >= nodes.count
        self.begin = isDone ? nil : begin
        if isDone { (position, stage) = (position &+ 1, 0) }
        return SamplerStep(state)
    }
}

/// Grids of times.
enum FlowTimes {
    /// `points` equally spaced times in float32, as torch's `linspace` gives them: from both ends towards the middle.
    static func spaced(_ points: Int, from first: Double, to last: Double) throws(DiffError) -> [Double] {
        guard (2...100_000).contains(points) else {
            throw DiffError(.invalidArgument, "a flow needs 2...100000 points of time, found \(points)")
        }
        let (start, end) = (Float(first), Float(last))
        let stride = (end - start) / Float(points &- 1)
        return Indices(below: points).map { index in
            Double(index < points / 2 ? start + stride * Float(index) : end - stride * Float(points &- 1 &- index))
        }
    }
}
