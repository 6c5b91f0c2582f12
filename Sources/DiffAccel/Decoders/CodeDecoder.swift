import DiffModels
import DiffTensor

/// A state in the code space of a multi-scale VQ-VAE to pixels.
struct CodeDecoder: PictureDecoder {
    let autoencoder: VQVAE

    var name: String { VQVAEFamily.name }

    func shape(of state: Shape) throws(DiffError) -> Shape? {
        let factor = autoencoder.configuration.factor
        return try Shape(state[0], 3, state[2] &* factor, state[3] &* factor)
    }

    func decodeOne(_ state: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try autoencoder.decode(state, run)
    }

    /// VAR's code casts where others round: whole levels already.
    func levels(_ decoded: Tensor, _ run: Run) throws(DiffError) -> (tensor: Tensor, scale: Float, offset: Float) {
        (try run.flooredLevels(decoded), 1, 0)
    }
}
