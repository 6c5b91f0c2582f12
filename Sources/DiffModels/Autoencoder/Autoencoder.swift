public import DiffCheckpoint
public import DiffTensor

/// The KL autoencoder of Stable Diffusion (`AutoencoderKL`), loaded from diffusers or latent-diffusion names.
///
/// Immutable after loading. A checkpoint without the encoder's tensors loads as a decoder, one without the decoder's as an encoder.
public final class Autoencoder: ImageAutoencoder {
    /// Sizes and scaling.
    public let configuration: AutoencoderConfiguration
    /// Sites of decoder and encoder, by module path.
    public let layout: SiteLayout
    private let decoder: AutoencoderDecoder?
    private let encoder: AutoencoderEncoder?

    /// Loads the autoencoder. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: AutoencoderConfiguration, _ weights: Weights) throws(DiffError) {
        // Every residual block has tensors of its own; a config that claims more must not make us build them first.
        let blocks = configuration.levelChannels.count * (configuration.layersPerBlock + 1)  // 8 * 65 at most
        guard blocks <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(blocks) blocks")
        }
        let names = AutoencoderNames(weights)
        var layout = SiteLayout(family: "autoencoder_kl")
        let hasEncoder = weights.has("encoder.conv_in.weight")
        if hasEncoder, !weights.has("decoder.conv_in.weight"), !weights.has("decoder.conv_out.weight") {
            decoder = nil
            weights.markUsed(prefix: "post_quant_conv.")
        } else {
            decoder = try AutoencoderDecoder(weights, names, configuration, &layout)
        }
        if hasEncoder {
            encoder = try AutoencoderEncoder(weights, names, configuration, &layout)
        } else {
            encoder = nil
            weights.markUsed(prefix: "quant_conv.")
        }
        try weights.finish()
        self.configuration = configuration
        self.layout = layout
    }

    /// Whether ``encode(_:_:)`` is available.
    public var hasEncoder: Bool { encoder != nil }
    /// Whether ``decode(_:_:)`` is available.
    public var hasDecoder: Bool { decoder != nil }
    /// Channels of a picture that is encoded.
    public var encodedChannels: Int { configuration.inChannels }

    /// Latents of the diffusion model [batch, latentChannels, h, w] to pixels [batch, outChannels, h * factor, w * factor],
    /// nominally in [-1, 1] (not clamped). Throws `unsupported` when the checkpoint holds no decoder.
    public func decode(_ latents: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        guard let decoder else { throw DiffError(.unsupported, "this autoencoder was saved without its decoder") }
        guard latents.shape.rank == 4, latents.shape[1] == c.latentChannels, latents.shape.count > 0 else {
            throw DiffError(.shape, "latents \(latents.shape), expected [batch, \(c.latentChannels), h, w]")
        }
        return try decoder(unscaled(latents, run), run)
    }

    /// Latents of the diffusion model in the autoencoder's own scale: divided by the scaling factor, plus the shift; or as the statistics
    /// of the channels say.
    private func unscaled(_ latents: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        if let statistics = c.statistics {
            return try run.scaledChannels(
                latents, by: statistics.deviations.map { $0 / c.scalingFactor }, adding: statistics.means)
        }
        let shift = try run.filled(latents.shape.count, with: c.shiftFactor).reshaped(latents.shape)
        return try run.combine(1 / c.scalingFactor, latents, 1, shift)
    }

    /// Latents of the diffusion model for `moments` [batch, 2 * latentChannels, h, w] as ``encode(_:_:)`` gives them: their means, or with
    /// standard normal `noise` [batch, latentChannels, h, w] a sample, in the scale that the diffusion model works in.
    public func scaledLatents(_ moments: Tensor, noise: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        guard moments.shape.rank == 4, moments.shape[1] == 2 &* c.latentChannels else {
            throw DiffError(.shape, "moments \(moments.shape), expected [batch, \(2 &* c.latentChannels), h, w]")
        }
        let means = try run.channels(moments, 0, c.latentChannels)
        let latents =
            if let noise {
                try run.gaussianSample(means, run.channels(moments, c.latentChannels, c.latentChannels), noise)
            } else { means }
        let count = max(0, c.latentChannels)
        let centres = c.statistics?.means ?? Array(repeating: c.shiftFactor, count: count)
        let factors = c.statistics?.deviations.each.map { c.scalingFactor / $0 }
        // Two steps, as the reference rounds.
        let centred = try run.scaledChannels(
            latents, by: Array(repeating: 1, count: count), adding: centres.each.map { -$0 })
        return try run.scaledChannels(
            centred, by: factors ?? Array(repeating: c.scalingFactor, count: count),
            adding: Array(repeating: 0, count: count))
    }

    /// Pixels [batch, inChannels, h, w] in [-1, 1] to the moments of their latents in the autoencoder's own scale:
    /// [batch, 2 * latentChannels, h / factor, w / factor], means first, log-variances clamped to [-30, 20].
    ///
    /// Throws `unsupported` when the checkpoint holds no encoder, `notFinite` when the moments are not.
    public func encode(_ image: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        guard let encoder else { throw DiffError(.unsupported, "this autoencoder was saved without its encoder") }
        guard image.shape.rank == 4, image.shape[1] == c.inChannels, image.shape[2] % c.factor == 0,
            image.shape[3] % c.factor == 0, image.shape.count > 0
        else {
            throw DiffError(
                .shape, "image \(image.shape), expected [batch, \(c.inChannels), h, w], sides multiples of \(c.factor)")
        }
        let moments = try encoder(image, run)
        // Before they are limited: a limit makes a number of NaN.
        try run.requireFinite(moments, "the encoder's output (the encoder's weights, or the image)")
        return try run.clamped(moments, fromChannel: c.latentChannels, to: -30...20)
    }
}

extension Autoencoder {
    /// Channels of a latent.
    public var latentChannels: Int { configuration.latentChannels }
    /// Channels of a decoded picture.
    public var pictureChannels: Int { configuration.outChannels }
    /// Pixels per latent along a side.
    public var factor: Int { configuration.factor }
    /// What it makes of a picture is a distribution.
    public var drawsLatents: Bool { true }

    /// The latents of `image`: ``encode(_:_:)``, then ``scaledLatents(_:noise:_:)``.
    public func latents(_ image: Tensor, noise: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        try scaledLatents(encode(image, run), noise: noise, run)
    }
}
