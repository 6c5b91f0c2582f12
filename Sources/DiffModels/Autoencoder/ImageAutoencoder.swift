public import DiffTensor

/// An autoencoder of pictures: between the latents of a diffusion model, in the model's own scale, and pixels in -1 ... 1.
///
/// Immutable; any number of runs may use one at once.
public protocol ImageAutoencoder: AnyObject, Sendable {
    /// Sites by module path.
    var layout: SiteLayout { get }
    /// Channels of a latent.
    var latentChannels: Int { get }
    /// Channels of a decoded picture, and of one that is encoded.
    var pictureChannels: Int { get }
    var encodedChannels: Int { get }
    /// Pixels per latent along a side.
    var factor: Int { get }
    /// Whether it can encode, and whether it can decode: checkpoints may hold a part alone.
    var hasEncoder: Bool { get }
    var hasDecoder: Bool { get }
    /// Whether ``latents(_:noise:_:)`` has a use for noise.
    var drawsLatents: Bool { get }

    /// Latents of the diffusion model [batch, latentChannels, h, w] to pixels [batch, pictureChannels, h * factor, w * factor], nominally
    /// in -1 ... 1 (not clamped).
    func decode(_ latents: Tensor, _ run: Run) throws(DiffError) -> Tensor

    /// Pixels [batch, channels, h, w] in -1 ... 1, sides multiples of ``factor``, to latents of the diffusion model: the likeliest ones, or
    /// with standard normal `noise` of their shape a sample, where they are a distribution. Throws `unsupported` when there is no encoder.
    func latents(_ image: Tensor, noise: Tensor?, _ run: Run) throws(DiffError) -> Tensor
}

extension ImageAutoencoder {
    /// A picture of 64 x 64 latents, there and back as far as it goes both ways: for facts, by a dry run.
    public func evaluate(dry run: Run) throws(DiffError) {
        let latents = try run.workspace.take(Shape(1, latentChannels, 64, 64))
        if hasDecoder { _ = try decode(latents, run) }
        guard hasEncoder else { return }
        let side = 64 &* factor
        _ = try self.latents(run.workspace.take(Shape(1, encodedChannels, side, side)), noise: nil, run)
    }
}
