public import DiffCheckpoint
public import DiffTensor

/// The part of a multi-scale VQ-VAE that learning needs: the codebook, and the encoder where images are learned from. The decoder
/// stays on disk.
///
/// Immutable after loading.
public final class ScaleEncoder: Sendable {
    /// Sites of the encoder, by module path.
    public let layout: SiteLayout
    /// The codebook, and how scales add up.
    public let codes: ScaleQuantizer
    /// Extents [3, S, S] of the images that are encoded.
    public let picture: Shape
    /// Bytes of what is loaded.
    public let byteCount: Int
    private let encoder: AutoencoderEncoder?

    /// Loads the part for the scales `schedule`. Throws as ``VQVAE/init(_:_:schedule:)``, and `unsupported` when images are to be
    /// encoded and the checkpoint was saved without its encoder.
    public init(
        _ configuration: VQVAEConfiguration, _ weights: Weights, schedule: ScaleSchedule, encodesPictures: Bool
    ) throws(DiffError) {
        _ = try configuration.scales(wanted: schedule, weights)
        var layout = SiteLayout(family: "vqvae")
        var skipped = ["decoder.", "post_quant_conv."]
        if encodesPictures {
            guard weights.has("encoder.conv_in.weight") else { throw VQVAE.hasNoEncoder }
            try configuration.checkBlocks(weights)
            encoder = try AutoencoderEncoder(weights, .ldm, configuration.autoencoder, &layout)
        } else {
            encoder = nil
            skipped += ["encoder.", "quant_conv."]
        }
        for prefix in skipped.each { weights.markUsed(prefix: prefix) }
        codes = try ScaleQuantizer(weights.scope("quantize"), configuration, schedule)
        try weights.finish()
        let side = schedule.finest &* configuration.factor  // at most 2^7 times 2^16
        picture = try Shape(3, side, side)
        self.layout = layout
        let table = weights.table
        let stored = table.names.each.reduce(0) { sum, name in
            let isSkipped = skipped.each.contains { name.hasPrefix($0) }
            return isSkipped ? sum : Checked.sum(sum, table.info(name)?.byteCount ?? 0)
        }
        // The codes once more the other way round, and the lengths of each.
        byteCount = Checked.sum(stored, configuration.vocabulary &* (configuration.codeChannels &+ 1) &* 4)
    }

    /// Codes of all scales, coarse to fine, of images [batch, 3, S, S] in -1 ... 1: [scale][batch · side²]. Throws `shape`,
    /// `unsupported` when it was loaded without the encoder.
    public func tokens(of pictures: Tensor, _ run: Run) throws(DiffError) -> [[Int]] {
        guard let encoder else { throw VQVAE.hasNoEncoder }
        guard pictures.shape.rank == 4, pictures.shape == (try picture.replacingBatch(pictures.shape[0])) else {
            throw DiffError(.shape, "pictures \(pictures.shape), expected [batch, 3, \(picture[1]), \(picture[2])]")
        }
        return try codes.encode(encoder(pictures, run), run).tokens
    }
}

extension Shape {
    /// The shape of `batch` tensors of this one.
    fileprivate func replacingBatch(_ batch: Int) throws(DiffError) -> Shape { try Shape([batch] + dims) }
}
