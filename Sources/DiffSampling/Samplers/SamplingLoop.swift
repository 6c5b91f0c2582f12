public import DiffTensor

/// The network's guided prediction for a state: `x` [n, C, h, w], already scaled, to [n, C or 2C, h, w].
public typealias Denoise = (_ x: Tensor, _ call: Call, _ run: Run) throws(DiffError) -> Tensor

/// What a sampler tells after each evaluation. Return from the observer to go on, throw to stop.
public struct SamplerProgress: Sendable {
    /// Evaluation just made (0 is the first), and how many there are, or can be.
    public let index: Int, count: Int
    /// Where it stood.
    public let call: SamplerCall
    /// State after it and the clean image it heads for, [n, C, h, w]; valid during the call.
    public let state: Tensor, predictedClean: Tensor?
}

extension Sampler {
    /// Samples of `shape` [n, C, h, w] from noise. `networkBatch` is the batch the network sees (2n under guidance). Every call goes
    /// through the run's methods. Throws `cancelled`, memory errors, and whatever `denoise` and `observe` throw.
    public func sample(
        _ shape: Shape, noise: NoiseSource, networkBatch: Int, _ run: Run,
        observe: (SamplerProgress) throws(DiffError) -> Void, denoise: Denoise
    ) throws(DiffError) -> Tensor {
        var noise = noise
        let scale = Float(initialNoiseScale)
        var x = try noise.initial(shape, run)
        if scale != 1 { x = try run.scaled(x, scale) }
        return try sample(from: x, noise: noise, networkBatch: networkBatch, run, observe: observe, denoise: denoise)
    }

    /// The same from the state `x` in front of the next evaluation; nothing but the noise of steps is drawn.
    public func sample(
        from x: Tensor, noise: NoiseSource, networkBatch: Int, _ run: Run,
        observe: (SamplerProgress) throws(DiffError) -> Void, denoise: Denoise
    ) throws(DiffError) -> Tensor {
        var (sampler, x, noise) = (self, x, noise)
        let (shape, count) = (x.shape, calls.limit)
        var (index, drawn) = (0, 0)
        func draw() throws(DiffError) -> Tensor {
            defer { drawn &+= 1 }
            return try noise.next(drawn, shape, drawn: networkBatch, run)
        }
        while let now = sampler.call {
            let call = Call(
                time: Float(now.timestep), index: index, count: count, step: now.step, stage: now.stage)
            x = try sampler.prepared(x, run, draw: draw)
            let input = now.inputScale == 1 ? x : try run.scaled(x, Float(now.inputScale))
            let output = try run.evaluate(call) { (call, run) throws(DiffError) in try denoise(input, call, run) }
            let result = try sampler.step(x, output, run, draw: draw)
            x = result.state
            try observe(
                SamplerProgress(
                    index: index, count: count, call: now, state: x, predictedClean: result.predictedClean))
            index &+= 1
        }
        return x
    }
}
