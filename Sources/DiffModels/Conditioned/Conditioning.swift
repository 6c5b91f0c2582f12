public import DiffTensor

/// What prompts became: what a conditioned denoiser attends to, and what it is told beside the time. One row for each sample.
public struct Conditioning: Sendable {
    /// What attention reads: [n, tokens, width of the text]. Not read by networks whose text has no width.
    public var states: Tensor
    /// Which tokens of ``states`` are seen, f32 [n, tokens]: 1 those that are, 0 those that are not; nil: all. Where none is, all count
    /// as seen.
    public var mask: Tensor?
    /// A second text that some attentions read in place of the first, [n, tokens, its width]: AudioLDM2.
    public var secondStates: Tensor?
    /// The same as ``mask`` of ``secondStates``.
    public var secondMask: Tensor?
    /// One vector for the whole prompt, [n, width]: SDXL, SD3 and AudioLDM.
    public var pooled: Tensor?
    /// Original height and width, top and left of the crop, target height and width, in pixels, [n, 6]: SDXL.
    public var sizes: Tensor?
    /// What networks distilled with guidance are told in its place, [n]: the scale minus 1 (`time_cond_proj_dim`, LCM).
    public var guidance: Tensor?

    /// The states alone; what else a network needs is set afterwards.
    public init(states: Tensor) { self.states = states }

    /// One vector for each whole prompt, [n, width], for networks that read no tokens. Throws `shape`.
    public init(pooled: Tensor) throws(DiffError) {
        guard pooled.shape.rank == 2 else { throw DiffError(.shape, "a vector for each prompt: \(pooled.shape)") }
        self.init(states: try pooled.reshaped(Shape(pooled.shape[0], 1, pooled.shape[1])))
        self.pooled = pooled
    }
}

/// What a network makes of a ``Conditioning`` that no step changes: keys and values of its cross-attention, embeddings of what it is told.
///
/// Which tensor is which is the network's own affair. All have one row, or the same number of rows, for each sample.
public struct PreparedConditioning: Sendable {
    /// In the network's order; first extents are multiples of ``samples``.
    public let tensors: [Tensor]
    /// Rows of the conditioning that it was made of.
    public let samples: Int

    /// These tensors of as many samples.
    public init(_ tensors: [Tensor], samples: Int) { (self.tensors, self.samples) = (tensors, samples) }

    /// That of samples `first ..< first + count`: views, nothing is copied. Throws `internal` for samples that are not there.
    public func rows(_ first: Int, _ count: Int) throws(DiffError) -> PreparedConditioning {
        var parts: [Tensor] = []
        for tensor in tensors.each {
            let each = tensor.shape[0] / max(1, samples)
            parts.append(try tensor.rows(first &* each, count &* each))
        }
        return PreparedConditioning(parts, samples: count)
    }
}
