public import DiffCheckpoint
public import DiffTensor

/// The tiny autoencoder of Stable Diffusion (TAESD; `AutoencoderTiny` of diffusers): a distilled stand-in for the large one, with the same
/// latents, at a small part of its cost.
///
/// Loaded from diffusers' names or those of TAESD's own files, either half alone too. Immutable after loading.
public final class AutoencoderTiny: ImageAutoencoder {
    /// Sizes.
    public let configuration: AutoencoderTinyConfiguration
    /// Sites of the blocks, by module path.
    public let layout: SiteLayout
    private let encoder, decoder: TinyHalf?

    /// Loads the autoencoder. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ c: AutoencoderTinyConfiguration, _ weights: Weights) throws(DiffError) {
        var layout = SiteLayout(family: "autoencoder_tiny")
        let (encoding, decoding) = (
            AutoencoderTinyNames(.encoder, weights), AutoencoderTinyNames(.decoder, weights)
        )
        guard encoding != nil || decoding != nil else {
            throw DiffError(
                .incompatible,
                "\(weights.table.path): neither the encoder nor the decoder of a tiny autoencoder (decoder.layers.0.weight)"
            )
        }
        encoder = try encoding.map { (names) throws(DiffError) in
            try TinyHalf(encoder: names, weights, c, &layout)
        }
        decoder = try decoding.map { (names) throws(DiffError) in
            try TinyHalf(decoder: names, weights, c, &layout)
        }
        try weights.finish()
        let levels = c.encoder.blocks.count &- 1
        guard encoder == nil || decoder == nil || c.factor == 1 << levels else {
            throw DiffError(
                .format,
                "\(weights.table.path): the encoder shrinks \(1 << levels) times, the decoder enlarges \(c.factor) times"
            )
        }
        (configuration, self.layout) = (c, layout)
    }

    /// Channels of a latent.
    public var latentChannels: Int { configuration.latentChannels }
    /// Channels of a decoded picture.
    public var pictureChannels: Int { configuration.outChannels }
    /// Pixels per latent along a side.
    public var factor: Int { decoder == nil ? 1 << (configuration.encoder.blocks.count &- 1) : configuration.factor }
    /// Whether the checkpoint has it.
    public var hasEncoder: Bool { encoder != nil }
    /// Whether the checkpoint has it.
    public var hasDecoder: Bool { decoder != nil }
    /// Channels of a picture that is encoded.
    public var encodedChannels: Int { configuration.inChannels }
    /// What it makes of a picture is one latent.
    public var drawsLatents: Bool { false }

    /// Latents of the diffusion model [batch, latentChannels, h, w] to pixels [batch, outChannels, h * factor, w * factor], nominally in
    /// -1 ... 1 (not clamped). Latents are softly kept within ±3.
    public func decode(_ latents: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        guard let decoder else { throw DiffError(.unsupported, "this autoencoder was saved without its decoder") }
        guard latents.shape.rank == 4, latents.shape[1] == c.latentChannels, latents.shape.count > 0 else {
            throw DiffError(.shape, "latents \(latents.shape), expected [batch, \(c.latentChannels), h, w]")
        }
        let own = try run.scaledChannels(
            latents, by: Array(repeating: 1 / c.scalingFactor, count: max(0, c.latentChannels)),
            adding: Array(repeating: c.shiftFactor, count: max(0, c.latentChannels)))
        let image = try decoder(run.softlyBounded(own, by: 3), run)
        return try run.scaledChannels(
            image, by: Array(repeating: 2, count: max(0, c.outChannels)),
            adding: Array(repeating: -1, count: max(0, c.outChannels)))
    }

    /// Pixels [batch, inChannels, h, w] in -1 ... 1 to latents of the diffusion model [batch, latentChannels, h / factor, w / factor];
    /// `noise` has no use. Throws `unsupported` when the checkpoint holds no encoder.
    public func latents(_ image: Tensor, noise: Tensor? = nil, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        guard let encoder else { throw DiffError(.unsupported, "this autoencoder was saved without its encoder") }
        let side = max(1, factor)
        guard image.shape.rank == 4, image.shape[1] == c.inChannels, image.shape[2] % side == 0,
            image.shape[3] % side == 0, image.shape.count > 0
        else {
            throw DiffError(
                .shape, "image \(image.shape), expected [batch, \(c.inChannels), h, w], sides multiples of \(factor)")
        }
        let positive = try run.scaledChannels(
            image, by: Array(repeating: 0.5, count: max(0, c.inChannels)),
            adding: Array(repeating: 0.5, count: max(0, c.inChannels)))
        let own = try encoder(positive, run)
        return try run.scaledChannels(
            own, by: Array(repeating: c.scalingFactor, count: max(0, c.latentChannels)),
            adding: Array(repeating: -c.shiftFactor * c.scalingFactor, count: max(0, c.latentChannels)))
    }
}
