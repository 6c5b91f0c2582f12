import DiffTensor

/// One step of a discrete process from the noise level ᾱ to the cleaner one of ᾱ'.
public struct DiffusionTransition: Sendable, Equatable {
    /// The timestep at which the network is asked.
    public let timestep: Int
    /// ᾱ there.
    public let alpha: Double
    /// ᾱ where the step goes; 1 is the clean image.
    public let previous: Double
    /// 1 - ᾱ / ᾱ': the noise that one step of this length adds.
    public let beta: Double

    /// A step from `alpha` to `previous`.
    public init(timestep: Int, alpha: Double, previous: Double, beta: Double? = nil) {
        (self.timestep, self.alpha, self.previous) = (timestep, alpha, previous)
        self.beta = beta ?? 1 - alpha / previous
    }

    /// The clean image that the network's `output` [n, C or more, h, w] means for `x` [n, C, h, w].
    ///
    /// For epsilon the order of operations is the official DiT's: x / √ᾱ - √(1 / ᾱ - 1) ε.
    func clean(_ x: Tensor, _ output: Tensor, _ prediction: PredictionType, _ run: Run) throws(DiffError) -> Tensor {
        let output = try run.channels(output, 0, x.shape[1])
        switch prediction {
        case .epsilon:
            return try run.combine(Float((1 / alpha).squareRoot()), x, -Float((1 / alpha - 1).squareRoot()), output)
        case .velocity: return try run.combine(Float(alpha.squareRoot()), x, -Float((1 - alpha).squareRoot()), output)
        case .sample: return output
        }
    }

    /// The noise ε that the same output means; `clean` is its ``clean(_:_:_:_:)``.
    func noise(
        _ x: Tensor, _ output: Tensor, _ clean: Tensor, _ prediction: PredictionType, _ run: Run
    ) throws(DiffError) -> Tensor {
        switch prediction {
        case .epsilon: return try run.channels(output, 0, x.shape[1])
        case .velocity:
            return try run.combine(
                Float(alpha.squareRoot()), run.channels(output, 0, x.shape[1]), Float((1 - alpha).squareRoot()), x)
        case .sample: return try recovered(x, clean, run)
        }
    }

    /// The noise ε between `x` and the image `clean`: (x / √ᾱ - x0) / √(1 / ᾱ - 1), finite also where ᾱ is 0.
    func recovered(_ x: Tensor, _ clean: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard alpha > 0 else { return x }
        let recip = Float((1 / alpha).squareRoot())
        let recipMinus1 = Float((1 / alpha - 1).squareRoot())
        return try run.combine(recip / recipMinus1, x, -1 / recipMinus1, clean)
    }

    /// √ᾱ clean + √(1 - ᾱ) noise.
    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.combine(Float(alpha.squareRoot()), clean, Float((1 - alpha).squareRoot()), noise)
    }
}

/// Whether and how clean images are clamped to -range ... range on the way (`clip_sample`, `clip_denoised`).
public struct SampleClipping: Sendable, Equatable {
    /// The largest magnitude.
    public let range: Double
    /// Whether DDIM's noise is that between the state and the clamped image, as in the official DiT; diffusers keeps the network's.
    public let recoversNoise: Bool

    /// Clamping to ± `range`.
    public init(range: Double = 1, recoversNoise: Bool = false) {
        (self.range, self.recoversNoise) = (range, recoversNoise)
    }

    func apply(_ clean: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.clamped(clean, fromChannel: 0, to: unsafe ClosedRange(uncheckedBounds: (Float(-range), Float(range))))
    }
}
