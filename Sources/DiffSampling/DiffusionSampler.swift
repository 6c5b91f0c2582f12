public import DiffTensor

/// The network's guided prediction for a state: `x` [n, C, h, w] to [n, C or 2C, h, w].
public typealias Denoise = @Sendable (_ x: Tensor, _ call: Call, _ run: Run) throws(DiffError) -> Tensor

/// What a sampler tells after each step. Return from the observer to go on, throw to stop.
public struct DiffusionProgress: Sendable {
    /// Step just done (0 is the first, noisiest) and how many there are.
    public let step: Int, steps: Int
    /// The original timestep of the step.
    public let timestep: Int
    /// State after the step and the clean image it heads for, [n, C, h, w]; valid during the call.
    public let state: Tensor, predictedClean: Tensor
}

/// A complete reverse-diffusion loop: schedule and step rule. It knows nothing of networks or methods.
public struct DiffusionSampler: Sendable {
    /// The timesteps and their tables.
    public let schedule: DiffusionSchedule
    /// How a step is made.
    public let method: DiffusionMethod

    /// A sampler on `schedule`. Throws `invalidArgument` for an eta outside 0...1.
    public init(_ schedule: DiffusionSchedule, _ method: DiffusionMethod) throws(DiffError) {
        if case .ddim(let eta) = method, !(0...1).contains(eta) {
            throw DiffError(.invalidArgument, "eta must be 0...1, found \(eta)")
        }
        self.schedule = schedule
        self.method = method
    }

    /// Number of network calls a run makes.
    public var calls: Int { schedule.count }

    /// Samples of `shape` [n, C, h, w]. `networkBatch` is the batch the network sees (2n under guidance). Every call goes
    /// through the run's methods. Throws `cancelled`, memory errors, and whatever `denoise` and `observe` throw.
    public func sample(
        _ shape: Shape, noise: NoiseSource, networkBatch: Int, _ run: Run,
        observe: (DiffusionProgress) throws(DiffError) -> Void, denoise: @escaping Denoise
    ) throws(DiffError) -> Tensor {
        var noise = noise
        var x = try noise.initial(shape, run)
        for step in 0..<schedule.count {
            let index = schedule.count - 1 - step
            let timestep = schedule.timesteps[index]
            let call = Call(time: Float(timestep), index: step, count: schedule.count, step: step)
            let prediction = try run.evaluate(call) { [x] (call, run) throws(DiffError) in
                try denoise(x, call, run)
            }
            let z = method.isStochastic ? try noise.next(step, shape, drawn: networkBatch, run) : nil
            let result = try schedule.step(index, method, x: x, prediction: prediction, noise: z, run)
            x = result.state
            try observe(
                DiffusionProgress(
                    step: step, steps: schedule.count, timestep: timestep, state: x,
                    predictedClean: result.predictedClean))
        }
        return x
    }
}
