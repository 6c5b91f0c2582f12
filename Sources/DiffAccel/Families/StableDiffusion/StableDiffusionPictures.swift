import DiffCheckpoint
import DiffModels
import DiffTensor

/// What turns latents of a pipeline into pictures, and pictures into latents.
struct StableDiffusionPictures {
    /// What encodes; nil: there is none.
    let autoencoder: (any ImageAutoencoder)?
    let decoder: (any PictureDecoder)?
    /// Channels of the latents, and pixels of one along a side.
    let channels: Int, factor: Int

    /// Opens the pipeline's `vae`, and the decoder that the options name in place of it. Throws `incompatible` when they do not fit `network`.
    init(
        _ opened: Opened, _ parts: StableDiffusionParts, _ network: any ConditionedDenoiser, _ elements: inout Int
    ) throws(DiffError) {
        channels = network.predictedChannels
        let found: LatentDecoder?
        if opened.options.decoder == nil, try parts.has("vae") {
            let (config, tensors) = try parts.contents("vae")
            found = try LatentDecoder(
                config, tensors, opened, as: "vae/config.json", at: opened.checkpoint.path)
            elements = Checked.sum(elements, tensors.elementCount)
        } else {
            found = try LatentDecoder.beside(opened, channels: channels)
        }
        if let found, found.autoencoder.latentChannels != channels {
            throw DiffError(
                .incompatible,
                "the autoencoder takes \(found.autoencoder.latentChannels) latent channels, the network makes \(channels)"
            )
        }
        autoencoder = found?.autoencoder
        decoder = found
        factor = found?.autoencoder.factor ?? 8
        guard network.channels == channels || network.channels == channels &* 2 &+ 1 else {
            throw DiffError(
                .unsupported,
                "a network of \(network.channels) channels for latents of \(channels): only one more for a mask and those of a masked picture are known (in-painting)"
            )
        }
    }
}
