public import DiffCheckpoint
public import DiffTensor

/// Sizes of a tiny autoencoder. Keys and defaults are those of diffusers' `AutoencoderTiny`; the defaults are TAESD.
public struct AutoencoderTinyConfiguration: Sendable, Equatable {
    /// The levels of one half, in running order.
    public struct Half: Sendable, Equatable {
        /// Blocks of each level.
        public let blocks: [Int]
        /// Channels of all of them.
        public let width: Int
    }

    /// Channels of an image to encode, of a decoded image, of a latent.
    public var inChannels: Int, outChannels: Int, latentChannels: Int
    /// The two halves.
    public var encoder: Half, decoder: Half
    /// How much a level of the decoder enlarges.
    public var upsampling: Int
    /// Latents of the diffusion model are (own latents - shiftFactor) * scalingFactor; 1 and 0 for the published ones.
    public var scalingFactor: Float, shiftFactor: Float

    /// Pixels per latent along a side.
    public var factor: Int {
        var product = 1
        for _ in Indices(below: decoder.blocks.count &- 1) { product &*= upsampling }
        return product
    }

    /// Reads the config. Throws `format` and `unsupported`.
    public init(_ c: JSONObject) throws(DiffError) {
        inChannels = try c.integer("in_channels", in: 1...64, default: 3)
        outChannels = try c.integer("out_channels", in: 1...64, default: 3)
        latentChannels = try c.integer("latent_channels", in: 1...1024, default: 4)
        upsampling = try c.integer("upsampling_scaling_factor", in: 1...8, default: 2)
        scalingFactor = Float(try c.number("scaling_factor", in: 1e-6...1e6, default: 1))
        shiftFactor = Float(try c.number("shift_factor", in: -1e6...1e6, default: 0))
        encoder = try Self.half(c, "encoder", [1, 3, 3, 3])
        decoder = try Self.half(c, "decoder", [3, 3, 3, 1])
        try Self.rules.refuse(c)
        guard factor <= 128 else {
            throw c.error(
                "upsampling_scaling_factor", "\(decoder.blocks.count) levels enlarge \(factor) times; at most 128")
        }
    }

    private static func half(_ c: JSONObject, _ name: String, _ blocks: [Int]) throws(DiffError) -> Half {
        let (key, counts) = ("\(name)_block_out_channels", "num_\(name)_blocks")
        let blocks = try c.integers(counts, in: 0...64, default: blocks)
        let widths = try c.integers(key, in: 1...16384, default: Array(repeating: 64, count: max(0, blocks.count)))
        guard let width = widths.at(0), blocks.count <= 8, widths.count == blocks.count else {
            throw c.error(key, "\(widths.count) widths for the \(blocks.count) levels of \(counts); 1 to 8 can be")
        }
        guard widths.each.allSatisfy({ $0 == width }) else {
            throw c.error(key, "levels of several widths, between which the architecture has no layers")
        }
        return Half(blocks: blocks, width: width)
    }
}
