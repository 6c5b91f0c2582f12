public import DiffTensor

/// What a run begins with, and what it leaves as it is.
public struct SamplingStart: Sendable {
    /// The clean state [n, C, h, w] that image-to-image begins with; nil: the run begins with noise.
    public var image: Tensor?
    /// The first evaluation of a fresh run that is made, 0 for all of them.
    public var call: Int
    /// What is painted over; nil: everything.
    public var region: KeptRegion?

    /// Noise, and everything painted over.
    public init(image: Tensor? = nil, call: Int = 0, region: KeptRegion? = nil) {
        (self.image, self.call, self.region) = (image, call, region)
    }
}

/// In-painting with a network that was not trained for it: after each evaluation what is kept comes from the picture, as noisy as the next
/// evaluation expects it.
///
/// Source: the 4-channel branch of diffusers' `StableDiffusionInpaintPipeline`.
public struct KeptRegion: Sendable {
    /// The picture's clean state [n, C, h, w].
    public let image: Tensor
    /// 1 where the run paints, 0 where the picture stays, [n, 1, h, w].
    public let mask: Tensor

    /// This picture and this mask.
    public init(image: Tensor, mask: Tensor) { (self.image, self.mask) = (image, mask) }

    /// `x` where the run paints, the picture elsewhere: as `sampler` has it before its next evaluation, clean after the last.
    func merged(_ x: Tensor, noise: Tensor, _ sampler: any Sampler, _ run: Run) throws(DiffError) -> Tensor {
        let kept = sampler.call == nil ? image : try sampler.noised(image, noise, run)
        return try run.chosen(x, kept, where: mask)
    }
}

extension Sampler {
    /// The first evaluation of a run that changes a picture with this `strength`, 0 … 1. Nil when no step is left.
    public func firstCall(strength: Double) -> Int? {
        let first = firstStep(strength: strength)
        return first < steps ? first &* evaluationsPerStep : nil
    }
}
