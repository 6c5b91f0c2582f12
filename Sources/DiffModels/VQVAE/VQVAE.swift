public import DiffCheckpoint
public import DiffTensor

/// The multi-scale VQ-VAE of visual autoregressive modelling: images to codes of many scales and back. Official names.
///
/// Immutable after loading. A checkpoint without encoder tensors loads as a decoder.
public final class VQVAE: Sendable {
    /// Sizes and options.
    public let configuration: VQVAEConfiguration
    /// Sites of decoder and encoder, by module path.
    public let layout: SiteLayout
    private let decoder: AutoencoderDecoder
    private let encoder: AutoencoderEncoder?
    private let quantizer: ScaleQuantizer

    /// Loads the autoencoder for the scales `schedule`, or those of its config. Throws one error that lists every tensor that is
    /// missing, unused or of the wrong shape; `format` when no scales are known.
    public init(
        _ configuration: VQVAEConfiguration, _ weights: Weights, schedule: ScaleSchedule? = nil
    ) throws(DiffError) {
        let scales = try configuration.scales(wanted: schedule, weights)
        try configuration.checkBlocks(weights)
        let sizes = configuration.autoencoder
        var layout = SiteLayout(family: "vqvae")
        decoder = try AutoencoderDecoder(weights, .ldm, sizes, &layout)
        if weights.has("encoder.conv_in.weight") {
            encoder = try AutoencoderEncoder(weights, .ldm, sizes, &layout)
        } else {
            encoder = nil
            weights.markUsed(prefix: "quant_conv.")
        }
        quantizer = try ScaleQuantizer(weights.scope("quantize"), configuration, scales)
        try weights.finish()
        (self.configuration, self.layout) = (configuration, layout)
    }

    /// Whether ``encode(_:_:)`` is available.
    public var hasEncoder: Bool { encoder != nil }

    /// The codebook, and how scales add up.
    public var codes: ScaleQuantizer { quantizer }

    /// A state [batch, codeChannels, h, w] as pixels [batch, 3, h · factor, w · factor], nominally in -1 ... 1 (not clamped).
    public func decode(_ state: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard state.shape.rank == 4, state.shape[1] == configuration.codeChannels, state.shape.count > 0 else {
            throw DiffError(.shape, "state \(state.shape), expected [batch, \(configuration.codeChannels), h, w]")
        }
        return try decoder(state, run)
    }

    /// Pixels [batch, 3, H, W] in -1 ... 1 as features [batch, codeChannels, H / factor, W / factor], not yet codes. Throws
    /// `unsupported` when the checkpoint holds no encoder.
    public func encode(_ image: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try encoder(for: image)(image, run)
    }

    /// The encoder's output before the convolution that precedes the codes; the rest as ``encode(_:_:)``.
    public func encoded(_ image: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try encoder(for: image).features(image, run)
    }

    static let hasNoEncoder = DiffError(.unsupported, "this VQ-VAE was saved without its encoder")

    private func encoder(for image: Tensor) throws(DiffError) -> AutoencoderEncoder {
        guard let encoder else { throw Self.hasNoEncoder }
        let factor = max(1, configuration.factor)
        guard image.shape.rank == 4, image.shape[1] == 3, image.shape[2] % factor == 0, image.shape[3] % factor == 0,
            image.shape.count > 0
        else {
            throw DiffError(.shape, "image \(image.shape), expected [batch, 3, H, W], sides multiples of \(factor)")
        }
        return encoder
    }
}
