public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of a multi-scale VQ-VAE. Keys are those of the published code; what a config leaves out is read off the
/// shapes of the checkpoint.
public struct VQVAEConfiguration: Sendable, Equatable {
    /// Number of codes.
    public var vocabulary: Int
    /// Channels of a code.
    public var codeChannels: Int
    /// Channels per level, finest first.
    public var levelChannels: [Int]
    /// Channels of the encoder's first convolution; nil without encoder.
    public var firstChannels: Int?
    /// Residual blocks per encoder level; the decoder has one more.
    public var layersPerLevel: Int
    /// How much of an enlarged map passes through its convolution, the rest being kept as it is (`quant_resi`).
    public var blend: Float
    /// How many such convolutions there are: 1 for all scales, 0 for one each, else this many for ranges of scales.
    public var shares: Int
    /// Whether the nearest code is the one of the nearest direction (`using_znorm`).
    public var comparesDirections: Bool
    /// The scales that images are encoded in; nil when the config does not say.
    public var schedule: ScaleSchedule?

    /// Pixels per code of the finest scale, along a side.
    public var factor: Int { 1 << min(16, levelChannels.count &- 1) }

    /// Reads a config; `weights` is the scope of the autoencoder's tensors. Throws `format`, `unsupported`.
    public init(_ c: JSONObject, _ weights: Weights) throws(DiffError) {
        try Self.rules.refuse(c)
        let table = weights.shape(of: "quantize.embedding.weight")
        vocabulary = try c.integer("vocab_size", in: 2...1_000_000, default: table?[0] ?? 4096)
        codeChannels = try c.integer("z_channels", in: 1...1024, default: table?[1] ?? 32)
        firstChannels = weights.shape(of: "encoder.conv_in.weight")?[0]
        if c.has("ch") {
            let base = try c.integer("ch", in: 1...16384)
            let multiples = try c.integers("ch_mult", in: 1...64, default: [1, 1, 2, 2, 4])
            levelChannels = multiples.map { base &* $0 }
            firstChannels = firstChannels.map { _ in base }
        } else {
            levelChannels = Self.levels(weights)
        }
        var layers = 0
        while layers < 64, weights.has("decoder.up.0.block.\(layers &+ 1).conv1.weight") { layers &+= 1 }
        layersPerLevel = try c.integer("num_res_blocks", in: 1...64, default: max(1, layers))
        blend = Float(try c.number("quant_resi", in: -1...1, default: 0.5).magnitude)
        shares = try c.integer("share_quant_resi", in: 0...ScaleSchedule.maxScales, default: Self.shares(weights))
        comparesDirections = try c.bool("using_znorm", default: false)
        if c.has("patch_nums") || c.has("v_patch_nums") {
            let key = c.has("patch_nums") ? "patch_nums" : "v_patch_nums"
            schedule = try ScaleSchedule(c.integers(key, in: 1...ScaleSchedule.maxSide))
        }
        guard (1...8).contains(levelChannels.count), levelChannels.allSatisfy({ $0 % 32 == 0 && $0 <= 65536 }),
            (firstChannels ?? 32) > 0
        else {
            throw DiffError(
                .format,
                "\(c.place): levels of \(levelChannels.prefix(8)) channels; 1 to 8 multiples of 32 are expected")
        }
    }

    private static func levels(_ weights: Weights) -> [Int] {
        var channels: [Int] = []
        while channels.count < 9,
            let shape = weights.shape(of: "decoder.up.\(channels.count).block.0.conv1.weight")
        { channels.append(shape[0]) }
        return channels.isEmpty ? [160, 160, 320, 320, 640] : channels
    }

    private static func shares(_ weights: Weights) -> Int {
        if weights.has("quantize.quant_resi.qresi.weight") { return 1 }
        if weights.has("quantize.quant_resi.0.weight") { return 0 }
        var count = 0
        while count < ScaleSchedule.maxScales, weights.has("quantize.quant_resi.qresi_ls.\(count).weight") {
            count &+= 1
        }
        return count == 0 ? 4 : count
    }
}

extension VQVAEConfiguration {
    /// Sizes of the decoder and the encoder.
    var autoencoder: AutoencoderConfiguration {
        AutoencoderConfiguration(
            latentChannels: codeChannels, firstChannels: firstChannels, levelChannels: levelChannels,
            layersPerBlock: layersPerLevel)
    }

    /// The scales to work in: those that a model wants, or the config's. Throws `format` when there are none, `incompatible` when
    /// they differ.
    func scales(wanted: ScaleSchedule?, _ weights: Weights) throws(DiffError) -> ScaleSchedule {
        guard let scales = wanted ?? schedule else {
            throw DiffError(.format, "\(weights.table.path): the config of a VQ-VAE needs patch_nums")
        }
        guard let own = schedule, own != scales else { return scales }
        throw DiffError(.incompatible, "the VQ-VAE works in scales \(own.sides), the model in \(scales.sides)")
    }

    /// Throws `incompatible` when there are fewer tensors than blocks: a config that claims more must not make us build them first.
    func checkBlocks(_ weights: Weights) throws(DiffError) {
        let blocks = levelChannels.count &* (layersPerLevel &+ 1)  // 8 * 65 at most
        guard blocks <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(blocks) blocks")
        }
    }
}
