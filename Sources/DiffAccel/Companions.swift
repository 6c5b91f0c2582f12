import DiffCheckpoint
import DiffTensor

/// What a process loads of the parts of a pipeline beside the network; of the others it knows the sizes.
struct Companions: Sendable, Equatable {
    /// Whether text encoders and what encodes pictures are loaded: rank 0 encodes for all.
    var encoders = true
    /// Whether what decodes is loaded.
    var decoder = true
    /// Whether ranks share the decoding of pictures, for which all load the decoder.
    var sharesDecoding = true

    /// Nothing: sizes alone.
    static let outlines = Companions(encoders: false, decoder: false, sharesDecoding: false)

    /// How an autoencoder of pictures is loaded where all else is loaded as `loading` says.
    func autoencoder(_ loading: Weights.Options) -> Weights.Options {
        var loading = loading
        if !decoder {
            loading.dryRun = true
        } else if !encoders {
            loading.part = WeightsPart(without: ["encoder"])
        }
        return loading
    }

    /// The same of what only rank 0 has a use for.
    func ofRoot(_ loading: Weights.Options) -> Weights.Options {
        var loading = loading
        if !encoders { loading.dryRun = true }
        return loading
    }
}
