public import DiffTensor

/// The network's prediction for a state: `x` [n, C, h, w], already scaled, to [n, C or 2C, h, w].
public typealias Denoise = @Sendable (_ x: Tensor, _ call: Call, _ run: Run) throws(DiffError) -> Tensor

/// What a sampler tells after each evaluation. Return from the observer to continue, throw to stop.
public struct SamplerProgress: Sendable {
    /// Evaluation just made (0 is the first), and how many there are, or can be.
    public let index: Int, count: Int
    /// Where it stood.
    public let call: SamplerCall
    /// State after it and the clean image it heads for, [n, C, h, w]; valid during the call.
    public let state: Tensor, predictedClean: Tensor?
}

extension Sampler {
    /// Samples of `shape` [n, C, h, w] from noise, or from a picture, under `guidance` if there is any. Every network call goes through the
    /// run's methods. Throws `cancelled`, memory errors, `unsupported` where the guidance needs to know more of the run than the sampler does,
    /// and whatever `denoise` and `observe` throw.
    public func sample(
        _ shape: Shape, noise: NoiseSource, guidance: Guidance?, from beginning: SamplingStart = SamplingStart(),
        _ run: Run,
        observe: (SamplerProgress) throws(DiffError) -> Void, denoise: @escaping GuidedDenoise
    ) throws(DiffError) -> Tensor {
        let calls = try GuidedCalls(guidance, steps: steps, calls: calls, run)
        let samples = shape[0]
        var (noise, sampler) = (noise, self)
        let drawnNoise = try noise.initial(shape, run)
        var x = try sampler.begin(beginning, drawnNoise, run)
        // Two equal halves to begin with.
        if calls.carriesBothHalves { x = try run.doubled(x) }
        let drawn = guidance != nil && noise.drawsBothHalves ? 2 &* samples : samples
        let state = try sampler.loop(
            from: x, noise: noise, networkBatch: drawn, after: beginning.call,
            keeping: beginning.region.map { ($0, drawnNoise) }, run,
            observe: { (told) throws(DiffError) in
                try observe(
                    SamplerProgress(
                        index: told.index, count: told.count, call: told.call, state: told.state.rows(0, samples),
                        predictedClean: told.predictedClean.map { (x) throws(DiffError) in try x.rows(0, samples) }))
            },
            evaluate: { (x, call) throws(DiffError) in try calls.evaluate(x, call, run, denoise) })
        return try state.rows(0, samples)
    }

    /// Samples of `shape` [n, C, h, w] from noise, of which `networkBatch` rows are drawn at each step.
    public func sample(
        _ shape: Shape, noise: NoiseSource, networkBatch: Int, _ run: Run,
        observe: (SamplerProgress) throws(DiffError) -> Void, denoise: @escaping Denoise
    ) throws(DiffError) -> Tensor {
        var noise = noise
        let x = try scaledStart(noise.initial(shape, run), run)
        return try sample(from: x, noise: noise, networkBatch: networkBatch, run, observe: observe, denoise: denoise)
    }

    /// The same from the state `x` before the next evaluation; nothing but the noise of steps is drawn.
    public func sample(
        from x: Tensor, noise: NoiseSource, networkBatch: Int, _ run: Run,
        observe: (SamplerProgress) throws(DiffError) -> Void, denoise: @escaping Denoise
    ) throws(DiffError) -> Tensor {
        try loop(from: x, noise: noise, networkBatch: networkBatch, run, observe: observe) {
            (x, call) throws(DiffError) in
            try run.evaluate(call) { (call, run) throws(DiffError) in try denoise(x, call, run) }
        }
    }

    /// Goes to where a run begins, and gives the state there.
    @inline(never)
    private mutating func begin(
        _ beginning: SamplingStart, _ noise: Tensor, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let image = beginning.image else { return try scaledStart(noise, run) }
        start(at: beginning.call)
        return try noised(image, noise, run)
    }

    /// The state before the first evaluation of a run that begins with this `noise`.
    private func scaledStart(_ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let scale = Float(initialNoiseScale)
        return scale == 1 ? noise : try run.scaled(noise, scale)
    }

    /// `made` evaluations of a fresh run are left out.
    private func loop(
        from x: Tensor, noise: NoiseSource, networkBatch: Int, after made: Int = 0,
        keeping kept: (region: KeptRegion, noise: Tensor)? = nil, _ run: Run,
        observe: (SamplerProgress) throws(DiffError) -> Void,
        evaluate: (Tensor, Call) throws(DiffError) -> Tensor
    ) throws(DiffError) -> Tensor {
        var (sampler, x, noise) = (self, x, noise)
        let (shape, count) = (x.shape, max(0, calls.limit &- made))
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
            let result = try sampler.step(x, evaluate(input, call), run, draw: draw)
            x = result.state
            if let kept { x = try kept.region.merged(x, noise: kept.noise, sampler, run) }
            try observe(
                SamplerProgress(
                    index: index, count: count, call: now, state: x, predictedClean: result.predictedClean))
            index &+= 1
        }
        return x
    }
}
