public import DiffSampling
public import DiffTensor

/// Everything in which learning a router differs from one family to the next: the sampler whose calls the router decides about, which
/// of them are full, the states and times that a training step is made of, and how the error is counted.
///
/// Network calls are counted from the noisiest. Source: Learning-to-Cache (arXiv 2406.01733), `train_router.py` of its DiT and its
/// U-ViT part.
public struct RouterProcess: Sendable {
    /// Rows of a router: one for each network call of a run.
    public let rows: Int
    /// Network calls of a sampling step.
    public let callsPerStep: Int
    /// What the network is told at each call.
    public let timesteps: [Double]
    /// What teacher and student are told at each call.
    public private(set) var trainingTimesteps: [Double]
    /// Whether a sample's error is the sum of the squared differences of its elements, not their mean.
    public let sumsErrors: Bool
    /// Whether the sampler needs more than the state after a cached call to continue: the call is one of several in a step.
    let keepsHistory: Bool
    let groups: [CachedGroup]
    private let sampler: any Sampler
    /// ᾱ of the states that data are noised to, by call.
    private let alphas: [Double]

    /// DiT: DDIM (eta 0) on `steps` evenly respaced timesteps, one of `period` steps being full. Throws `invalidArgument`.
    public static func ddim(_ process: DiffusionProcess, steps: Int, period: Int = 2) throws(DiffError) -> Self {
        let schedule = try DiffusionSchedule(process, .even([steps]))
        return try ddim(DDIMSampler(schedule.transitions, prediction: process.prediction), period: period)
    }

    /// DDIM on the steps of `sampler`, whatever its network predicts, one of `period` steps being full. Throws `invalidArgument`, also for a
    /// sampler that draws noise.
    public static func ddim(_ sampler: DDIMSampler, period: Int = 2) throws(DiffError) -> Self {
        let steps = sampler.transitions.count
        guard period <= steps else {
            throw DiffError(.invalidArgument, "a period of \(period) in \(steps) sampling steps")
        }
        guard sampler.eta == 0 else {
            throw DiffError(.invalidArgument, "routers are learned without noise on the way, found eta \(sampler.eta)")
        }
        return try Self(
            rows: steps, callsPerStep: 1, timesteps: sampler.timesteps, trainingTimesteps: sampler.timesteps,
            sumsErrors: false, keepsHistory: false, groups: CachedGroup.singleCalls(steps: steps, period: period),
            sampler: sampler, alphas: sampler.transitions.each.map { $0.alpha }
        ).checked()
    }

    /// U-ViT: DPM-Solver++(2S) of `evaluations` network calls, two for each step. Throws `invalidArgument`.
    ///
    /// Data are noised to whole timesteps, and teacher and student are told whole ones; the solver's own calls have fractions.
    public static func singlestep(
        _ process: DiffusionProcess, evaluations: Int, period: Int = 2
    ) throws(DiffError) -> Self {
        guard period == 2 else {
            throw DiffError(
                .invalidArgument,
                "a period of \(period) is for samplers with one network call per step; this model's solver makes two: "
                    + "leave it out")
        }
        let sampler = try DPMSolverSinglestepSampler(process, evaluations: evaluations)
        let known = try process.alphasCumulative()
        let timesteps = sampler.timesteps
        let count = Float(known.count)
        // From the time in float32, as published: what is half a timestep in decimals falls on the same side there.
        let whole = timesteps.map { Double((Float($0 / Double(count)) * count).rounded(.toNearestOrEven)) }
        let alphas = whole.map { known.at((Checked.integer($0) ?? 0) &- 1) ?? 1 }
        return try Self(
            rows: evaluations, callsPerStep: 2, timesteps: timesteps, trainingTimesteps: whole, sumsErrors: true,
            keepsHistory: true, groups: CachedGroup.pairedCalls(steps: sampler.steps), sampler: sampler, alphas: alphas
        ).checked()
    }

    /// The process of training steps at states that the sampler itself came to: teacher and student are told what the sampler tells the network.
    func inUse() -> Self {
        var process = self
        process.trainingTimesteps = timesteps
        return process
    }

    private func checked() throws(DiffError) -> Self {
        guard !groups.isEmpty else {
            throw DiffError(
                .invalidArgument, "a router for \(timesteps.count) network calls decides about none; take more steps")
        }
        return self
    }

    /// The sampler before call `call`.
    public func sampler(at call: Int) -> any Sampler {
        var sampler = sampler
        sampler.start(at: call)
        return sampler
    }

    /// The state at call `call`, where a step begins, whose clean image is `x0`: √ᾱ x0 + √(1 - ᾱ) noise.
    public func noised(_ x0: Tensor, _ noise: Tensor, call: Int, _ run: Run) throws(DiffError) -> Tensor {
        let product = alphas.at(call) ?? 1
        return try run.combine(Float(product.squareRoot()), x0, Float((1 - product).squareRoot()), noise)
    }
}

extension Sampler {
    /// The state that follows from the network's raw `output` for `x`; samplers of routers draw no noise.
    public mutating func advance(_ x: Tensor, _ output: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try step(x, output.detached, run) { () throws(DiffError) in try run.zeros(x.shape) }.state
    }
}
