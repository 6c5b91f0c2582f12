public import DiffTensor
import Glibc

/// How much noise the flow's stochastic equation adds at each time: w(t), times a norm.
public enum FlowDiffusion: String, Sendable, CaseIterable {
    case constant
    /// That of the diffusion with the same marginals; infinite at the beginning of the linear path.
    case matched = "SBDM"
    case sigma
    case linear
    case decreasing
    case increasingDecreasing = "increasing-decreasing"

    func at(_ t: Double, _ path: FlowPath, norm: Double) -> Double {
        switch self {
        case .constant: return norm
        case .matched:
            let p = path.at(t)
            return norm * (p.alphaSlope / p.alpha * p.sigma * p.sigma - p.sigma * p.sigmaSlope)
        case .sigma: return norm * path.at(t).sigma
        case .linear: return norm * (1 - t)
        case .decreasing:
            let wave = norm * cos(.pi * t) + 1
            return 0.25 * wave * wave
        case .increasingDecreasing: return norm * sin(.pi * t) * sin(.pi * t)
        }
    }
}

/// The flow's stochastic differential equation dx = (v + w s) dt + √(2w) dW with the score s, in equal steps, and one step without noise
/// at the end.
public struct FlowSDESampler: Sampler {
    /// A noisy step.
    public enum Method: String, Sendable, CaseIterable {
        /// Euler-Maruyama.
        case euler = "Euler"
        /// The noise first, then Heun's rule on the drift: two evaluations.
        case heun = "Heun"
    }

    /// The step at the end.
    public enum LastStep: String, Sendable, CaseIterable {
        /// The drift alone.
        case mean = "Mean"
        /// The velocity alone.
        case euler = "Euler"
        /// The expected data.
        case tweedie = "Tweedie"
        case none = "None"
    }

    /// The name in statistics.
    public let name: String
    private let process: FlowProcess
    private let method: Method, last: LastStep
    private let diffusion: FlowDiffusion, norm: Double
    private let times: [Double]
    private let lastSize: Double
    private var position = 0, stage = 0
    /// The state after the noise of a step, and the drift there.
    private var kept: (state: Tensor, drift: Tensor)?

    /// A sampler on `points` equally spaced times from 0 to 1 - `lastSize`, one noisy step fewer, and the last step. Throws
    /// `invalidArgument`.
    public init(
        _ method: Method, points: Int, diffusion: FlowDiffusion = .sigma, norm: Double = 1, last: LastStep = .mean,
        lastSize: Double = 0.04, process: FlowProcess = .sit
    ) throws(DiffError) {
        let size = last == .none ? 0 : lastSize
        guard (0..<1).contains(size), norm.isFinite, norm >= 0 else {
            throw DiffError(
                .invalidArgument, "a last step of \(lastSize) of time and a norm of \(norm) do not define an equation")
        }
        guard diffusion != .matched || process.ends.first > 0 else {
            throw DiffError(
                .unsupported, "diffusion form SBDM is infinite at the beginning of this path; use sigma, the default")
        }
        times = try FlowTimes.spaced(points, from: process.ends.first, to: min(process.ends.last, 1 - size))
        (name, self.method, self.last, self.lastSize) = ("sde_\(method.rawValue.lowercased())", method, last, size)
        (self.diffusion, self.norm, self.process) = (diffusion, norm, process)
    }

    private var noisySteps: Int { times.count &- 1 }
    private var each: Int { method == .heun ? 2 : 1 }
    private var stride: Double { (times.at(1) ?? 1) - (times.at(0) ?? 0) }
    /// Number of sampling steps.
    public var steps: Int { noisySteps &+ (last == .none ? 0 : 1) }
    /// Number of evaluations, or its bound.
    public var calls: CallCount { .exactly(noisySteps &* each &+ (last == .none ? 0 : 1)) }
    /// Noise tensors that are drawn after the first one.
    public var draws: Int { noisySteps }
    /// What the network is told in each evaluation.
    public var timesteps: [Double] {
        var all: [Double] = []
        for step in Indices(below: noisySteps) {
            for stage in Indices(below: each) { all.append(time(step, stage)) }
        }
        return last == .none ? all : all + [time(noisySteps, 0)]
    }

    private func time(_ step: Int, _ stage: Int) -> Double {
        let time = step < noisySteps ? times.at(step) ?? 1 : times.last ?? 1
        return stage == 0 ? time : time + stride
    }

    /// The evaluation to make next.
    public var call: SamplerCall? {
        guard position < steps else { return nil }
        return SamplerCall(timestep: time(position, stage), step: position, stage: stage)
    }

    /// Continues from a later evaluation of a fresh run.
    public mutating func start(at call: Int) { (position, stage) = (call / each, 0) }

    /// A state before the next evaluation.
    public func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let p = process.path.at(time(position, 0))
        return try run.combine(Float(p.alpha), clean, Float(p.sigma), noise)
    }

    /// v + w s
    private func drift(_ x: Tensor, _ output: Tensor, _ t: Double, _ run: Run) throws(DiffError) -> Tensor {
        let w = diffusion.at(t, process.path, norm: norm)
        return try run.combine(
            1, process.velocity(x, output, t, run), Float(w), process.score(x, output, t, run))
    }

    /// √(2 w dt) z added to `x`.
    private func diffused(_ x: Tensor, _ t: Double, _ z: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let w = diffusion.at(t, process.path, norm: norm)
        return try run.combine(1, x, Float((2 * w * stride).squareRoot()), z)
    }

    /// Heun's steps begin with their noise.
    public mutating func prepared(_ x: Tensor, _ run: Run, draw: NoiseDraw) throws(DiffError) -> Tensor {
        guard method == .heun, stage == 0, position < noisySteps else { return x }
        return try diffused(x, time(position, 0), draw(), run)
    }

    /// The state that follows from an evaluation.
    public mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let t = time(position, stage)
        guard position < noisySteps else {
            position &+= 1
            return SamplerStep(try lastStep(x, output, t, run))
        }
        switch method {
        case .euler:
            position &+= 1
            let moved = try run.combine(1, x, Float(stride), drift(x, output, t, run))
            return SamplerStep(try diffused(moved, t, draw(), run))
        case .heun:
            let drift = try drift(x, output, t, run)
            guard stage == 1, let (state, first) = kept else {
                (kept, stage) = ((x, drift), 1)
                return SamplerStep(try run.combine(1, x, Float(stride), drift))
            }
            (kept, stage, position) = (nil, 0, position &+ 1)
            let mean = try run.combine(0.5, first, 0.5, drift)
            return SamplerStep(try run.combine(1, state, Float(stride), mean))
        }
    }

    private func lastStep(_ x: Tensor, _ output: Tensor, _ t: Double, _ run: Run) throws(DiffError) -> Tensor {
        switch last {
        case .none: return x
        case .mean: return try run.combine(1, x, Float(lastSize), drift(x, output, t, run))
        case .euler: return try run.combine(1, x, Float(lastSize), process.velocity(x, output, t, run))
        case .tweedie:
            let p = process.path.at(t)
            return try run.combine(
                Float(1 / p.alpha), x, Float(p.sigma * p.sigma / p.alpha), process.score(x, output, t, run))
        }
    }
}
