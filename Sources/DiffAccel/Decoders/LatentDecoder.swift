import DiffCheckpoint
import DiffModels
import DiffTensor

/// Latents to pixels by an autoencoder, large or tiny.
struct LatentDecoder: PictureDecoder {
    let autoencoder: any ImageAutoencoder
    /// The family that the autoencoder would be as a model of its own.
    let name: String
    let isShared: Bool

    /// The autoencoder of a model whose latents have `channels` channels; nil when there is none. Throws `incompatible` when it is made for
    /// others. `scale` is the scaling factor of one whose config says none.
    static func beside(
        _ opened: Opened, channels: Int, scale: Double = 0.18215
    ) throws(DiffError) -> LatentDecoder? {
        guard let checkpoint = try opened.autoencoder() else { return nil }
        let decoder = try LatentDecoder(checkpoint, opened, scale: scale)
        guard decoder.autoencoder.latentChannels == channels else {
            throw DiffError(
                .incompatible,
                "the decoder takes \(decoder.autoencoder.latentChannels) latent channels, the model makes \(channels)")
        }
        return decoder
    }

    /// The autoencoder in `checkpoint`, which its config's class tells, loaded as `opened` says; its config is entered in the ledger as
    /// `file`. Throws what loading throws, and `incompatible` for one that cannot decode.
    init(
        _ checkpoint: Checkpoint, _ opened: Opened, as file: String = "vae/config.json", scale: Double = 0.18215
    ) throws(DiffError) {
        // A single file in the original layout has no configuration.
        let part = checkpoint.config == nil ? try SingleFile.recognise(checkpoint.tensors)?.part("vae") : nil
        let found: JSONObject
        if let part { found = try JSONObject(part.config, source: file) } else { found = try checkpoint.configuration }
        try self.init(
            found, part?.tensors ?? checkpoint.tensors, opened, as: file, at: checkpoint.path, scale: scale)
    }

    /// The autoencoder of `found`, its configuration, and `tensors`.
    init(
        _ found: JSONObject, _ tensors: TensorTable, _ opened: Opened, as file: String, at path: String,
        scale: Double = 0.18215
    ) throws(DiffError) {
        let companions = opened.options.companions
        let weights = Weights(tensors, options: companions.autoencoder(opened.loading))
        isShared = companions.sharesDecoding
        if AutoencoderTinyFamily.recognises(found) {
            let config = try opened.entered(found, as: file, AutoencoderTinyConfiguration.rules)
            let tiny = try AutoencoderTiny(AutoencoderTinyConfiguration(config), weights)
            guard tiny.hasDecoder else {
                throw DiffError(.incompatible, "\(path): an encoder alone cannot decode")
            }
            (autoencoder, name) = (tiny, AutoencoderTinyFamily.name)
        } else {
            let config = try opened.entered(found, as: file, AutoencoderConfiguration.rules)
            let whole = try Autoencoder(AutoencoderConfiguration(config, scale: scale), weights)
            guard whole.hasDecoder else { throw DiffError(.incompatible, "\(path): an encoder alone cannot decode") }
            (autoencoder, name) = (whole, AutoencoderFamily.name)
        }
    }

    var takesTiles: Bool { true }

    func shape(of state: Shape) throws(DiffError) -> Shape? {
        let factor = autoencoder.factor
        return try Shape(state[0], autoencoder.pictureChannels, state[2] &* factor, state[3] &* factor)
    }

    func decodeOne(_ state: Tensor, _ run: Run) throws(DiffError) -> Tensor { try autoencoder.decode(state, run) }

    func decodeTiled(_ state: Tensor, tile: Int, _ run: Run) throws(DiffError) -> Tensor? {
        try autoencoder.decodeTiled(state, tile: tile, run)
    }
}
