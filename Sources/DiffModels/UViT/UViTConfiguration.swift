public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of a U-ViT, under the names of the published configs (`nnet` of baofff/U-ViT).
public struct UViTConfiguration: Sendable, Equatable {
    /// Side of the square input in latent (or pixel) units.
    public var inputSize: Int
    /// Side of a patch.
    public var patchSize: Int
    /// Channels of the input and the output.
    public var inChannels: Int
    /// Width of the residual stream.
    public var width: Int
    /// Input and output blocks together; one block in the middle comes on top.
    public var depth: Int
    /// Attention heads; the width divides by it.
    public var heads: Int
    /// Hidden width of a block's MLP.
    public var mlpWidth: Int
    /// Whether the fused projection has a bias.
    public var projectsWithBias: Bool
    /// Whether the time features go through a network of two layers.
    public var embedsTime: Bool
    /// Rows of the label table; 0: unconditional.
    public var classRows: Int
    /// The row that means "no class"; nil when the model was trained without.
    public var nullClass: Int?
    /// Whether a 3 x 3 convolution ends the network.
    public var hasFinalConvolution: Bool
    /// Whether output blocks take what their partners among the input blocks gave.
    public var hasSkips: Bool

    /// eps of every norm: torch's default.
    static let normEps: Float = 1e-5

    /// Tokens along one side.
    public var grid: Int { inputSize / max(1, patchSize) }
    /// Tokens before the patches: the label's, where there is one, and the time's.
    public var extras: Int { classRows > 0 ? 2 : 1 }
    /// Tokens in all.
    public var tokens: Int { Checked.sum(grid &* grid, extras) }
    /// Blocks in all.
    public var blocks: Int { depth &+ 1 }

    /// Reads the published keys. `null_class` is ours: published configs say it in their training part, and only ImageNet's tables of
    /// 1001 rows have one. Throws `format`, `unsupported`.
    public init(_ c: JSONObject) throws(DiffError) {
        inputSize = try c.integer("img_size", in: 1...8192, default: 224)
        patchSize = try c.integer("patch_size", in: 1...1024, default: 16)
        inChannels = try c.integer("in_chans", in: 1...1024, default: 3)
        width = try c.integer("embed_dim", in: 2...65536, default: 768)
        depth = try c.integer("depth", in: 2...4096, default: 12)
        heads = try c.integer("num_heads", in: 1...1024, default: 12)
        projectsWithBias = try c.bool("qkv_bias", default: false)
        embedsTime = try c.bool("mlp_time_embed", default: false)
        classRows = max(0, try c.integer("num_classes", in: -1...10_000_000, default: -1))
        hasFinalConvolution = try c.bool("conv", default: true)
        hasSkips = try c.bool("skip", default: true)
        let ratio = try c.number("mlp_ratio", in: 0.001...1024, default: 4)
        mlpWidth = max(1, Int(Double(width) * ratio))
        let given = try c.optionalInteger("null_class", in: 0...10_000_000)
        nullClass = given ?? (classRows == 1001 ? 1000 : nil)
        guard nullClass ?? -1 < classRows else {
            throw c.error("null_class", "row \(nullClass ?? 0) of a table of \(classRows)")
        }
        if let scale = try c.optionalNumber("qk_scale", in: 0...1e6) {
            throw c.error(
                "qk_scale", "\(scale) is not supported; the published models have null (1 / sqrt of a head's width)")
        }
        try check(c.place)
    }

    private func check(_ place: String) throws(DiffError) {
        guard depth % 2 == 0 else {
            throw DiffError(.format, "\(place): a depth of \(depth) has no equal numbers of input and output blocks")
        }
        guard width % heads == 0, width % 2 == 0 else {
            throw DiffError(.format, "\(place): a width of \(width) is not even, or not divisible into \(heads) heads")
        }
        guard inputSize % patchSize == 0 else {
            throw DiffError(.format, "\(place): an input of \(inputSize) has no patches of \(patchSize)")
        }
        guard grid &* grid <= DiTConfiguration.maxTokens, patchSize &* patchSize &* inChannels <= 1 << 22,
            mlpWidth <= 1 << 22
        else {
            throw DiffError(.format, "\(place): \(grid) x \(grid) patches of \(patchSize) x \(patchSize) are too many")
        }
    }
}
