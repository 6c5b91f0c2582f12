public import DiffCheckpoint
public import DiffTensor

/// Sizes of a Stable Diffusion KL autoencoder. Keys and defaults are those of diffusers' `AutoencoderKL`.
public struct AutoencoderConfiguration: Sendable, Equatable {
    /// Channels of an image to encode.
    public var inChannels: Int
    /// Channels of a decoded image.
    public var outChannels: Int
    /// Channels of a latent.
    public var latentChannels: Int
    /// Channels per level, finest first.
    public var levelChannels: [Int]
    /// Residual blocks per encoder level; the decoder has one more.
    public var layersPerBlock: Int
    /// Groups of every group norm.
    public var groups: Int
    /// Latents of the diffusion model are (autoencoder latents - shiftFactor) * scalingFactor.
    public var scalingFactor: Float
    /// Subtracted from latents before scaling; 0 for Stable Diffusion 1 and 2.
    public var shiftFactor: Float
    /// Mean and deviation of each channel of the autoencoder's latents, which are normalised before they are scaled; nil: they are not.
    public var statistics: ChannelStatistics?
    /// Whether the coarsest level has an attention.
    public var attends = true
    /// Whether a 1 x 1 convolution follows the encoder.
    public var usesQuantConvolution: Bool
    /// Whether a 1 x 1 convolution precedes the decoder.
    public var usesPostQuantConvolution: Bool
    /// Channels that the encoder makes for each latent channel: means and variances, or the latents themselves.
    var momentsPerLatent = 2
    /// Side of the two convolutions around the latents.
    var quantKernel = 1
    /// Channels of the encoder before its first level; nil: as many as in it.
    var firstChannels: Int?

    /// Pixels per latent along a side.
    public var factor: Int { 1 << (levelChannels.count - 1) }

    /// The two halves of a multi-scale VQ-VAE, whose latents are codes and not distributions.
    init(latentChannels: Int, firstChannels: Int?, levelChannels: [Int], layersPerBlock: Int) {
        (inChannels, outChannels, groups, scalingFactor, shiftFactor) = (3, 3, 32, 1, 0)
        (self.latentChannels, self.levelChannels) = (latentChannels, levelChannels)
        (self.layersPerBlock, self.firstChannels) = (layersPerBlock, firstChannels)
        (usesQuantConvolution, usesPostQuantConvolution) = (true, true)
        (momentsPerLatent, quantKernel) = (1, 3)
    }

    /// Reads a config: diffusers' keys, of which every one has the Stable Diffusion f8 value as its default, or those of the original code
    /// (`ch`, `ch_mult`, `z_channels`). `scale` is the scaling factor where it says none.
    public init(_ c: JSONObject, scale: Double = 0.18215) throws(DiffError) {
        try Self.rules.refuse(c)
        inChannels = try c.integer("in_channels", in: 1...64, default: 3)
        scalingFactor = Float(try c.number("scaling_factor", in: 1e-6...1e6, default: scale))
        shiftFactor = Float(try c.number("shift_factor", in: -1e6...1e6, default: 0))
        usesQuantConvolution = try c.bool("use_quant_conv", default: true)
        usesPostQuantConvolution = try c.bool("use_post_quant_conv", default: true)
        attends = try c.bool("mid_block_add_attention", default: true)
        if c.has("ch_mult") {
            let base = try c.integer("ch", in: 1...16384, default: 128)
            outChannels = try c.integer("out_ch", in: 1...64, default: 3)
            latentChannels = try c.integer("z_channels", in: 1...1024, default: 4)
            levelChannels = try c.integers("ch_mult", in: 1...64).each.map { base &* $0 }
            firstChannels = base
            layersPerBlock = try c.integer("num_res_blocks", in: 1...64, default: 2)
            groups = try c.integer("groups", in: 1...1024, default: 32)
            if let own = try c.optionalNumber("scale", in: 1e-6...1e6) { scalingFactor = Float(own) }
            let embedded = try c.integer("embed_dim", in: 1...1024, default: latentChannels)
            guard embedded == latentChannels else {
                throw c.error(
                    "embed_dim",
                    "\(embedded), while z_channels is \(latentChannels): only latents as wide as both are supported")
            }
        } else {
            outChannels = try c.integer("out_channels", in: 1...64, default: 3)
            latentChannels = try c.integer("latent_channels", in: 1...1024, default: 4)
            levelChannels = try c.integers("block_out_channels", in: 1...16384, default: [128, 256, 512, 512])
            layersPerBlock = try c.integer("layers_per_block", in: 1...64, default: 2)
            groups = try c.integer("norm_num_groups", in: 1...1024, default: 32)
        }
        statistics = try ChannelStatistics(c, channels: latentChannels)
        guard statistics == nil || shiftFactor == 0 else {
            throw c.error("shift_factor", "latents with a shift_factor and with latents_mean; only one can hold")
        }
        guard (1...8).contains(levelChannels.count) else {
            throw DiffError(.format, "\(c.place): block_out_channels must name 1 to 8 levels")
        }
        guard (firstChannels ?? groups) % max(1, groups) == 0 else {
            throw c.error("ch", "\(firstChannels ?? 0) channels are not divisible into \(groups) groups")
        }
        for channels in levelChannels where channels % groups != 0 {
            throw DiffError(.format, "\(c.place): \(channels) channels are not divisible into \(groups) groups")
        }
    }
}
