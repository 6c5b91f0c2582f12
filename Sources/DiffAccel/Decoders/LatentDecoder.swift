import DiffModels
import DiffTensor

/// Latents to pixels by a KL autoencoder.
struct LatentDecoder: PictureDecoder {
    let autoencoder: Autoencoder

    /// The autoencoder of a model whose latents have `channels` channels; nil when there is none. Throws `incompatible` when it is made for
    /// others.
    static func beside(_ opened: Opened, channels: Int) throws(DiffError) -> LatentDecoder? {
        guard let checkpoint = try opened.autoencoder() else { return nil }
        let config = try opened.entered(
            checkpoint.configuration, as: "vae/config.json", AutoencoderConfiguration.rules)
        let configuration = try AutoencoderConfiguration(config)
        let autoencoder = try Autoencoder(configuration, Weights(checkpoint.tensors, options: opened.loading))
        guard configuration.latentChannels == channels else {
            throw DiffError(
                .incompatible,
                "the decoder takes \(configuration.latentChannels) latent channels, the model makes \(channels)")
        }
        return LatentDecoder(autoencoder: autoencoder)
    }

    var name: String { AutoencoderFamily.name }
    var takesTiles: Bool { true }

    func shape(of state: Shape) throws(DiffError) -> Shape? {
        let c = autoencoder.configuration
        return try Shape(state[0], c.outChannels, state[2] &* c.factor, state[3] &* c.factor)
    }

    func decodeOne(_ state: Tensor, tile: Int?, _ run: Run) throws(DiffError) -> Tensor {
        guard let tile else { return try autoencoder.decode(state, run) }
        return try autoencoder.decodeTiled(state, tile: tile, run)
    }
}
