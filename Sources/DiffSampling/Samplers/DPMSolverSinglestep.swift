public import DiffTensor
import Glibc

/// DPM-Solver++(2S) on continuous time (Lu et al. 2022), as U-ViT is sampled: equal steps in time, each decided by an evaluation in the
/// middle of its λ.
///
/// The evaluation at a step's beginning only positions the middle: with r = ½ its prediction cancels in the step itself. Source: the
/// solver of Learning-to-Cache's U-ViT: data prediction, `time_uniform`, no thresholding.
public struct DPMSolverSinglestepSampler: Sampler {
    private let curve: NoiseCurve
    /// Times of the steps' ends, 1 down to that of the first training step.
    private let times: [Double]
    private let prediction: PredictionType
    /// The next evaluation: even ones at the grid's times, odd ones between.
    private var position = 0
    private var kept: Tensor?

    /// A sampler that makes `evaluations` / 2 steps, rounded down. Throws `invalidArgument` when there is none, and for a process that does
    /// not exist.
    public init(_ process: DiffusionProcess, evaluations: Int) throws(DiffError) {
        guard (2...100_000).contains(evaluations) else {
            throw DiffError(.invalidArgument, "DPM-Solver++(2S) needs 2...100000 evaluations, found \(evaluations)")
        }
        curve = try NoiseCurve(process)
        let (steps, last) = (evaluations / 2, 1 / Double(max(1, process.trainSteps)))
        // From 1 down to 1 / T, the first training step: at time 0 λ is infinite. There is no final denoising.
        times = Indices(below: steps &+ 1).map { 1 + Double($0) / Double(max(1, steps)) * (last - 1) }
        prediction = process.prediction
    }

    /// The name in statistics.
    public var name: String { "dpmpp_2s" }
    /// Number of sampling steps.
    public var steps: Int { times.count &- 1 }
    /// Two.
    public var evaluationsPerStep: Int { 2 }
    /// Number of evaluations, or its bound.
    public var calls: CallCount { .exactly(2 &* steps) }
    /// What the network is told in each evaluation.
    public var timesteps: [Double] { Indices(below: calls.limit).map { curve.timestep(time($0)) } }

    /// The time of evaluation `call`.
    private func time(_ call: Int) -> Double {
        let (from, to) = (times.at(call / 2) ?? 1, times.at(call / 2 &+ 1) ?? 1)
        guard call % 2 == 1 else { return from }
        return curve.time(ofLambda: (curve.lambda(from) + curve.lambda(to)) / 2)
    }

    private func level(_ time: Double) -> SolverLevel { SolverLevel(sigma: exp(-curve.lambda(time))) }

    /// The evaluation to make next.
    public var call: SamplerCall? {
        guard position < calls.limit else { return nil }
        return SamplerCall(
            timestep: curve.timestep(time(position)), step: position / 2, stage: position % 2)
    }

    /// Continues from a later evaluation of a fresh run.
    public mutating func start(at call: Int) { position = call }

    /// A state before the next evaluation.
    public func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try level(time(position)).noised(clean, noise, run)
    }

    /// The state that follows from an evaluation.
    public mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        let (now, isSecond) = (level(time(position)), position % 2 == 1)
        let start = isSecond ? level(times.at(position / 2) ?? 1) : now
        let target = isSecond ? level(times.at(position / 2 &+ 1) ?? 1) : level(time(position &+ 1))
        position &+= 1
        let clean = try now.clean(x, output, prediction, run)
        let begin = kept ?? x
        kept = isSecond ? nil : x
        let state = try run.combine(
            Float(target.deviation / start.deviation), begin,
            Float(-target.alpha * expm1(start.lambda - target.lambda)), clean)
        return SamplerStep(state, predictedClean: clean)
    }
}

/// A discrete process between its timesteps: ln √ᾱ is linear from each to the next, the n-th of T at time n / T (`NoiseScheduleVP` with
/// `schedule="discrete"`). Linear beyond both ends too.
///
/// The reference computes in float32. Double precision moves times by about 2e-4 of 1000 and samples by about 2e-6.
struct NoiseCurve: Sendable {
    /// ln √ᾱ of every training step.
    private let logAlphas: [Double]

    init(_ process: DiffusionProcess) throws(DiffError) {
        logAlphas = try process.alphasCumulative().each.map { log($0) / 2 }
    }

    private var count: Double { Double(logAlphas.count) }

    /// What the network is told at `time`: neither shifted nor rounded.
    func timestep(_ time: Double) -> Double { count * time }

    /// λ = ln (√ᾱ / √(1 - ᾱ)).
    func lambda(_ time: Double) -> Double {
        let index = count * time - 1
        let low = min(max(0, Checked.integer(index.rounded(.down)) ?? 0), max(0, logAlphas.count &- 2))
        let (a, b) = logAlphas.pair(at: low)
        let logAlpha = a + (index - Double(low)) * (b - a)
        // 1 - ᾱ by expm1: near the clean end ᾱ is close to 1, and the difference would lose its digits.
        return logAlpha - 0.5 * log(-expm1(2 * logAlpha))
    }

    /// The time at which λ is `lambda`.
    func time(ofLambda lambda: Double) -> Double {
        let wanted = -0.5 * log1p(exp(-2 * lambda))
        // ln √ᾱ falls: the last entry that is not below.
        let low = logAlphas.lastPosition { $0 >= wanted }
        let (a, b) = logAlphas.pair(at: low)
        return (Double(low) + 1 + (a == b ? 0 : (wanted - a) / (b - a))) / count
    }
}
