public import DiffTensor

/// Where a sampler's noise comes from: a seed, or tensors of the caller.
///
/// With a seed the draws are those of the official DiT script on torch's CPU generator: the start noise for all samples at
/// once, then, in every step, one tensor for the whole network batch (twice the samples under guidance, of which the first
/// half is used).
public struct NoiseSource: Sendable {
    /// What the draws begin with.
    public let seed: UInt64
    private var generator: TorchRandom
    private let start: Tensor?
    private let steps: Tensor?

    /// Noise from `seed`; `start` [n, C, h, w] and `steps` [count, n, C, h, w], where given, are used instead of draws.
    public init(seed: UInt64, start: Tensor? = nil, steps: Tensor? = nil) {
        self.seed = seed
        generator = TorchRandom(seed: seed)
        self.start = start
        self.steps = steps
    }

    /// Throws `notFinite` when noise of the caller holds NaN or infinity.
    public func requireFinite(_ run: Run) throws(DiffError) {
        if let start { try run.requireFinite(start, "noise") }
        if let steps { try run.requireFinite(steps, "step_noise") }
    }

    /// The start noise. Throws `shape` when the given one has another shape.
    mutating func initial(_ shape: Shape, _ run: Run) throws(DiffError) -> Tensor {
        guard let start else { return try run.randomNormal(shape, &generator) }
        guard start.shape == shape else {
            throw DiffError(.shape, "start noise \(start.shape), expected \(shape)")
        }
        // The draws it replaces are still made: otherwise noise that came from the same seed would come again in the steps.
        if steps == nil { _ = try run.randomNormal(shape, &generator) }
        return start
    }

    /// The noise of sampling step `step` for `shape` [n, …], drawn as part of a batch of `drawn` samples.
    mutating func next(_ step: Int, _ shape: Shape, drawn: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let steps else {
            return try run.randomNormal(shape.replacingFirst(drawn), &generator).rows(0, shape[0])
        }
        let one = try steps.rows(step, 1)
        guard one.shape.count == shape.count else {
            throw DiffError(.shape, "step noise \(steps.shape), expected a tensor of \(shape) per step")
        }
        return try one.reshaped(shape)
    }
}
