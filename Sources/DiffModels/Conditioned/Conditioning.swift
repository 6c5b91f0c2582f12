public import DiffTensor

/// What prompts became: what a conditioned denoiser attends to, and what it is told beside the time. One row for each sample.
public struct Conditioning: Sendable {
    /// What attention reads: [n, tokens, width of the text].
    public var states: Tensor
    /// One vector for the whole prompt, [n, width]: SDXL and SD3.
    public var pooled: Tensor?
    /// Original height and width, top and left of the crop, target height and width, in pixels, [n, 6]: SDXL.
    public var sizes: Tensor?
    /// What networks distilled with guidance are told in its place, [n]: the scale minus 1 (`time_cond_proj_dim`, LCM).
    public var guidance: Tensor?

    /// The states alone; what else a network needs is set afterwards.
    public init(states: Tensor) { self.states = states }
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
