public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of the multimodal diffusion transformer of Stable Diffusion 3. Keys and defaults are those of diffusers'
/// `SD3Transformer2DModel`.
public struct MMDiTConfiguration: Sendable, Equatable {
    /// Side of the square latent that the network was trained on.
    public var side: Int
    /// Side of a patch.
    public var patchSize: Int
    /// Channels of the state.
    public var inChannels: Int
    /// Channels of the prediction.
    public var outChannels: Int
    /// Number of blocks.
    public var depth: Int
    /// Attention heads, of ``headWidth`` each.
    public var heads: Int
    /// Width of a head.
    public var headWidth: Int
    /// Width of what the text encoders give for each token.
    public var textWidth: Int
    /// Width of what they give for the whole prompt.
    public var pooledWidth: Int
    /// Side of the square of positions that images are cropped from, in patches.
    public var positionsSide: Int
    /// Whether queries and keys are divided by their root mean square head by head (`qk_norm`: SD3.5).
    public var normalisesHeads: Bool
    /// Blocks with a second attention, of the image to itself (SD3.5 medium).
    public var dualAttention: [Int]

    /// Width of both streams.
    public var width: Int { heads &* headWidth }
    /// Hidden width of a block's MLPs.
    public var mlpWidth: Int { 4 &* width }
    /// Sinusoidal features of the time.
    static let timeFeatures = 256

    /// Reads the config. Throws `format` and `unsupported`.
    public init(_ c: JSONObject) throws(DiffError) {
        side = try c.integer("sample_size", in: 1...8192, default: 128)
        patchSize = try c.integer("patch_size", in: 1...64, default: 2)
        inChannels = try c.integer("in_channels", in: 1...1024, default: 16)
        // Null means as many as come in, absence the default of the class.
        let unsaid = c.members["out_channels"] == nil ? 16 : inChannels
        outChannels = try c.optionalInteger("out_channels", in: 1...1024) ?? unsaid
        depth = try c.integer("num_layers", in: 1...4096, default: 18)
        headWidth = try c.integer("attention_head_dim", in: 1...4096, default: 64)
        heads = try c.integer("num_attention_heads", in: 1...1024, default: 18)
        textWidth = try c.integer("joint_attention_dim", in: 1...65536, default: 4096)
        pooledWidth = try c.integer("pooled_projection_dim", in: 1...65536, default: 2048)
        positionsSide = try c.integer("pos_embed_max_size", in: 1...8192, default: 96)
        normalisesHeads = try c.optionalString("qk_norm", oneOf: ["rms_norm"]) != nil
        dualAttention = try c.integers("dual_attention_layers", in: 0...4095, default: [])
        let projected = try c.integer("caption_projection_dim", in: 1...65536, default: 1152)
        try Self.rules.refuse(c)
        guard width <= 65536, width % 4 == 0 else {
            throw DiffError(
                .format, "\(c.place): \(heads) heads of \(headWidth): the width must be a multiple of 4, 65536 at most")
        }
        guard projected == width else {
            throw c.error(
                "caption_projection_dim", "\(projected), but text joins an image of width \(width): both must be equal")
        }
        guard side % max(1, patchSize) == 0 else {
            throw c.error("sample_size", "\(side) is not a multiple of the patches of \(patchSize)")
        }
    }
}
