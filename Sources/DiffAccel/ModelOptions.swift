public import DiffCheckpoint
public import DiffTensor

/// How a checkpoint is opened.
public struct ModelOptions: Sendable {
    /// `dit` or `autoencoder_kl`; nil: the config decides.
    public var family: String?
    /// Used instead of the checkpoint's `config.json`.
    public var config: JSON?
    /// Language models: the mask token; nil: the one that the config names.
    public var maskToken: Int?
    /// Which published code is followed where there are several for the same weights: of a DiT `official` or `diffusers`, which sets the
    /// defaults of its sampling too. Nil: the official one, unless the checkpoint shows that it was trained in diffusers.
    public var conventions: String?
    /// Folder of the autoencoder that turns latents into pixels; nil: the checkpoint's `vae` folder, if it has one.
    public var decoder: String?
    /// What weights are kept as in memory.
    public var weights = WeightType.stored
    /// Follow symbolic links inside the checkpoint's folder, as download caches have them, and inside those of its autoencoder and of
    /// the models that a plan or a trainer adds.
    public var followLinks = false
    /// Bytes the weights may take, and the largest of them once more as the file has it: it is packed while that is still there.
    /// 0: no limit.
    public var memoryLimit = 0

    /// The part of the denoising network whose matrices are loaded, on a rank that computes only that; nil: all of it. Parts beside the
    /// network, such as text encoders, are loaded as ever.
    public var networkPart: WeightsPart?

    /// What is loaded of the parts beside the network.
    var companions = Companions()

    /// The processes among which ``ModelSettings/ranks`` counts this one; nil: those that the program was started with.
    public var ranks: RankGroup?

    /// Settings that only some families have.
    public var settings = ModelSettings()

    /// The defaults.
    public init() {}

    /// The same for a model that works beside this one: what belongs to this checkpoint alone is left out.
    public var forPartner: ModelOptions {
        var options = self
        (options.family, options.config, options.decoder, options.networkPart) = (nil, nil, nil, nil)
        let (convolution, precision) = (options.settings.convolution, options.settings.precision)
        options.settings = ModelSettings()
        (options.settings.convolution, options.settings.precision) = (convolution, precision)
        return options
    }
}
