public import DiffTensor
import Glibc

/// The flow's ordinary differential equation by Dormand and Prince's method of fifth order, whose steps follow an estimate of their error
/// (torchdiffeq's dopri5, the default of SiT).
///
/// The number of evaluations depends on the data: two to begin with, six for each step tried. The last step passes the end; the
/// result is read off its polynomial. As in torchdiffeq (`RKAdaptiveStepsizeODESolver`), time is in double precision, rounded to float32
/// for the network, and states are in float32. The error's norm is over the whole state, so samples of a batch share their steps.
public struct AdaptiveODESampler: Sampler {
    /// How exact steps are: their error per element is below absolute + relative |x|, in the mean square.
    public struct Tolerance: Sendable, Equatable {
        public var absolute: Double, relative: Double

        /// SiT's are 1e-6 and 1e-3.
        public init(absolute: Double = 1e-6, relative: Double = 1e-3) {
            (self.absolute, self.relative) = (absolute, relative)
        }
    }

    /// What the next evaluation is for.
    private enum Phase: Equatable {
        /// The slope at the beginning, and that a little further, which tells how long a first step may be.
        case first, probe
        /// Evaluation 1...6 of a step.
        case stage(Int)
        case done
    }

    private let process: FlowProcess
    private let tolerance: Tolerance
    private let end: Double
    private let maxSteps: Int
    private var phase = Phase.first
    private var attempts = 0
    /// Where the step begins, and how long it is.
    private var time: Double, length = 0.0
    /// State and slope at the beginning of the step, and the slopes of its evaluations.
    private var state: Tensor?
    private var slopes = SlopeTable()

    /// A sampler from noise to data that tries at most `maxSteps` steps. Throws `invalidArgument`.
    public init(
        _ tolerance: Tolerance = Tolerance(), process: FlowProcess = .sit, maxSteps: Int = 100
    ) throws(DiffError) {
        guard tolerance.absolute > 0, tolerance.relative >= 0, tolerance.absolute.isFinite, tolerance.relative.isFinite
        else {
            throw DiffError(
                .invalidArgument, "tolerances must be positive, found \(tolerance.absolute) and \(tolerance.relative)")
        }
        guard (1...100_000).contains(maxSteps) else {
            throw DiffError(.invalidArgument, "an adaptive solver needs 1...100000 steps, found \(maxSteps)")
        }
        (self.process, self.tolerance, self.maxSteps) = (process, tolerance, maxSteps)
        (time, end) = process.ends
    }

    /// The name in statistics.
    public var name: String { "dopri5" }
    /// Number of sampling steps.
    public var steps: Int { maxSteps }
    /// Number of evaluations, or its bound.
    public var calls: CallCount { .atMost(2 &+ 6 &* maxSteps) }
    /// Not known before the run.
    public var timesteps: [Double] { [] }

    /// The evaluation to make next.
    public var call: SamplerCall? {
        switch phase {
        case .first: return SamplerCall(timestep: Double(Float(time)), step: 0)
        case .probe: return SamplerCall(timestep: Double(Float(time + length)), step: 0, stage: 1)
        case .stage(let stage):
            let t = Float(time + (DormandPrince.nodes.at(stage &- 1) ?? 1) * length)
            // At the end of a step the slope is that from the left: torchdiffeq evaluates nodes at 1 just below the end (`Perturb.PREV`).
            return SamplerCall(timestep: Double(stage >= 5 ? t.nextDown : t), step: attempts, stage: stage)
        case .done: return nil
        }
    }

    /// Adaptive steps have no list to start inside.
    public mutating func start(at call: Int) {}

    /// A state before the next evaluation.
    public func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let p = process.path.at(time)
        return try run.combine(Float(p.alpha), clean, Float(p.sigma), noise)
    }

    /// The state that follows from an evaluation.
    public mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard let call else { throw exhausted }
        let slope = try process.velocity(x, output, call.timestep, run)
        switch phase {
        case .first:
            (state, phase) = (x, .probe)
            slopes.put(slope, at: 0)
            let (size, steepness) = (try norm(x, x, x, run), try norm(slope, x, x, run))
            // A trial step that changes the state by about 1 % (`_select_initial_step`); 1e-6 where the quotient would mean nothing.
            length = size < 1e-5 || steepness < 1e-5 ? 1e-6 : 0.01 * size / steepness
            return SamplerStep(try run.combine(1, x, Float(length), slope))
        case .probe:
            guard let state, let first = slopes[0] else { throw exhausted }
            length = try firstLength(state, first, slope, run)
            phase = .stage(1)
            return SamplerStep(try stageState(1, state, run))
        case .stage(let stage):
            guard let state else { throw exhausted }
            slopes.put(slope, at: stage)
            guard stage == 6 else {
                phase = .stage(stage &+ 1)
                return SamplerStep(try stageState(stage &+ 1, state, run))
            }
            return SamplerStep(try finish(state, x, run))
        case .done: throw exhausted
        }
    }

    /// The length of the first step by the change of the slope over a small one (Hairer, Nørsett and Wanner, II.4).
    private func firstLength(
        _ state: Tensor, _ first: Tensor, _ slope: Tensor, _ run: Run
    ) throws(DiffError) -> Double {
        let steepness = try norm(first, state, state, run)
        let bend = try norm(run.combine(1, slope, -1, first), state, state, run) / length
        let most = max(steepness, bend)
        // The book's rule for a method of order p = 4, hence the fifth root.
        let wanted = most <= 1e-15 ? max(1e-6, length * 1e-3) : pow(0.01 / most, 1 / 5)
        return min(100 * length, wanted)
    }

    /// The state at evaluation `stage` of a step; that of the last one is the step's result.
    private func stageState(_ stage: Int, _ state: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try slopes.sum(state, DormandPrince.rows.at(stage &- 1) ?? [], length, run)
    }

    /// Takes or refuses the step that led from `state` to `result`, and begins the next one.
    private mutating func finish(_ state: Tensor, _ result: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        attempts &+= 1
        let error = try slopes.sum(nil, DormandPrince.error, length, run)
        let ratio = try norm(error, state, result, run)
        let (from, taken) = (time, length)
        // A dry run tries as many steps as there can be, and has no error to go by.
        let accepts = ratio <= 1 && !run.isDry
        length *= Self.factor(ratio)
        phase = .stage(1)
        guard accepts else {
            if run.isDry, attempts == maxSteps {
                phase = .done
                return try interpolated(state, result, 1, 1, run)
            }
            guard ratio.isFinite else { throw DiffError(.notFinite, "the error of a step of dopri5 at time \(time)") }
            guard attempts < maxSteps else { throw tooLong }
            return try stageState(1, state, run)
        }
        time = from + taken
        guard time < end else {
            phase = .done
            return try interpolated(state, result, (end - from) / taken, taken, run)
        }
        guard attempts < maxSteps else { throw tooLong }
        self.state = result
        // The last slope of a step is the first of the next one.
        slopes.restart()
        return try stageState(1, result, run)
    }

    private var tooLong: DiffError {
        DiffError(
            .unsupported,
            "dopri5 came to \(time) of \(end) in \(attempts) steps, as many as it may try; allow more steps, or a larger tolerance"
        )
    }

    /// How much longer the next step is (`_optimal_step_size`): the error estimate is of order h⁵, hence the fifth root; 0.9 is a safety
    /// margin. Never more than ten times as long, never shorter after a step that was taken, at most five times shorter after one refused.
    private static func factor(_ ratio: Double) -> Double {
        guard ratio > 0 else { return 10 }
        return min(10, max(0.9 * pow(ratio, -1 / 5), ratio < 1 ? 1 : 0.2))
    }

    /// The state at the fraction `at` of a step, from the quartic through both ends, their slopes and a middle (`_interp_fit`). Steps are not
    /// cut short at the end time, so the last one overshoots it, and the result is read off here.
    private func interpolated(
        _ y0: Tensor, _ y1: Tensor, _ at: Double, _ length: Double, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let f0 = slopes[0], let f1 = slopes[6] else { throw exhausted }
        let middle = try slopes.sum(y0, DormandPrince.middle, length, run)
        // Its coefficients c x², b x³, a x⁴ collected by what they are made of.
        let (p2, p3, p4) = (at * at, at * at * at, at * at * at * at)
        var y = try run.combine(
            Float(1 - 11 * p2 + 18 * p3 - 8 * p4), y0, Float(-5 * p2 + 14 * p3 - 8 * p4), y1)
        y = try run.combine(1, y, Float(16 * p2 - 32 * p3 + 16 * p4), middle)
        y = try run.combine(1, y, Float(length * (at - 4 * p2 + 5 * p3 - 2 * p4)), f0)
        return try run.combine(1, y, Float(length * (p2 - 3 * p3 + 2 * p4)), f1)
    }

    /// Root mean square of `x` in units of the tolerance at the larger of two states.
    private func norm(_ x: Tensor, _ a: Tensor, _ b: Tensor, _ run: Run) throws(DiffError) -> Double {
        try run.scaledNorm(x, a, b, absolute: tolerance.absolute, relative: tolerance.relative)
    }
}

/// Slopes of a step's seven evaluations, the first of which is the last of the step before.
private struct SlopeTable: Sendable {
    private var slopes: [Tensor?] = Array(repeating: nil, count: 7)

    subscript(index: Int) -> Tensor? { slopes.at(index) ?? nil }

    mutating func put(_ slope: Tensor, at index: Int) { slopes.put(slope, at: index) }

    mutating func restart() {
        slopes.put(self[6], at: 0)
        for index in Indices(below: 6) { slopes.put(nil, at: index &+ 1) }
    }

    /// `base` (nil: nothing) plus `length` times the slopes in these weights.
    func sum(_ base: Tensor?, _ weights: [Double], _ length: Double, _ run: Run) throws(DiffError) -> Tensor {
        var sum = base
        for (index, weight) in weights.numbered where weight != 0 {
            guard let slope = self[index] else { continue }
            let factor = Float(weight * length)
            sum = if let so = sum { try run.combine(1, so, factor, slope) } else { try run.scaled(slope, factor) }
        }
        guard let sum else { throw DiffError(.internal, "a step without slopes") }
        return sum
    }
}

/// The coefficients of Dormand and Prince (1980), the error weights and the middle in Shampine's form, as in torchdiffeq.
private enum DormandPrince {
    static let nodes = [1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1]
    static let rows: [[Double]] = [
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
    static let error: [Double] = [
        35.0 / 384 - 1951.0 / 21600, 0, 500.0 / 1113 - 22642.0 / 50085, 125.0 / 192 - 451.0 / 720,
        -2187.0 / 6784 + 12231.0 / 42400, 11.0 / 84 - 649.0 / 6300, -1.0 / 60,
    ]
    static let middle: [Double] = [
        6025192743.0 / 30085553152 / 2, 0, 51252292925.0 / 65400821598 / 2, -2691868925.0 / 45128329728 / 2,
        187940372067.0 / 1594534317056 / 2, -1776094331.0 / 19743644256 / 2, 11237099.0 / 235043384 / 2,
    ]
}
