public import DiffTensor

/// A sampler that makes one evaluation at each transition of a discrete process.
public protocol TransitionSampler: Sampler {
    /// The steps from the noisiest to the cleanest.
    var transitions: [DiffusionTransition] { get }
    /// The transition that the next evaluation belongs to.
    var position: Int { get set }
}

extension TransitionSampler {
    /// Number of sampling steps.
    public var steps: Int { transitions.count }
    /// One evaluation in each step.
    public var calls: CallCount { .exactly(transitions.count) }
    /// What the network is told in each evaluation.
    public var timesteps: [Double] { transitions.map { Double($0.timestep) } }
    /// One noise tensor for each step, after the first.
    public var draws: Int { transitions.count }

    /// The evaluation to make next.
    public var call: SamplerCall? {
        transitions.at(position).map { SamplerCall(timestep: Double($0.timestep), step: position) }
    }

    /// Continues from a later evaluation of a fresh run.
    public mutating func start(at call: Int) { position = call }

    /// A state before the next evaluation.
    public func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard let now = transitions.at(position) else { throw exhausted }
        return try now.noised(clean, noise, run)
    }
}
