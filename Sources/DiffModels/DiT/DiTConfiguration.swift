public import DiffCheckpoint
public import DiffTensor

/// The two ways in which published code runs the same DiT weights.
public enum DiTConventions: String, Sendable, CaseIterable {
    /// facebookresearch/DiT: time frequencies over 128, every norm with eps 1e-6. The weights were trained with these.
    case official
    /// diffusers: time frequencies over 127, the second norm of a block with the config's `norm_eps`.
    case diffusers
}

/// Which names the checkpoint uses.
public enum DiTNaming: String, Sendable {
    case official, diffusers
}

/// Sizes and options of a class-conditional DiT.
public struct DiTConfiguration: Sendable, Equatable {
    /// Side of the square input in latent (or pixel) units.
    public var inputSize: Int
    /// Side of a patch.
    public var patchSize: Int
    /// Channels of the input.
    public var inChannels: Int
    /// 2 * inChannels when the network also predicts the variance, else inChannels.
    public var outChannels: Int
    /// Width of the residual stream.
    public var width: Int
    /// Number of blocks.
    public var depth: Int
    /// Attention heads; the width divides by it.
    public var heads: Int
    /// Hidden width of a block's MLP.
    public var mlpWidth: Int
    /// Number of classes, the null class excluded.
    public var classes: Int
    /// Rows of the class table: one more than `classes` when the model was trained for guidance.
    public var classRows: Int
    /// Number of sinusoidal time features; even.
    public var timeFeatures: Int
    /// The layout of the checkpoint.
    public var naming: DiTNaming
    /// Which published code is followed.
    public var conventions: DiTConventions
    /// Why these conventions were taken, and how to have others; nil when they were asked for, or the layout leaves no doubt.
    public private(set) var assumption: String?
    /// eps of the second norm under the diffusers conventions.
    public var secondNormEps: Float

    /// More tokens than this are refused: the largest published network has 1024.
    public static let maxTokens = 16384

    /// Tokens along one side.
    public var grid: Int { inputSize / max(1, patchSize) }
    /// Tokens in all.
    public var tokens: Int { grid &* grid }
    /// The class index that means "no class"; nil when the model has none.
    public var nullClass: Int? { classRows > classes ? classes : nil }

    /// Reads either layout's config. `conventions` nil: the official code's, unless the checkpoint shows that it was trained in
    /// diffusers.
    public init(_ config: JSONObject, conventions: DiTConventions? = nil) throws(DiffError) {
        if config.has("num_attention_heads") {
            try self.init(diffusers: config, conventions)
        } else {
            try self.init(official: config, conventions)
        }
        try Self.rules.refuse(config)
        try check(config.place)
    }

    private init(official c: JSONObject, _ conventions: DiTConventions?) throws(DiffError) {
        inputSize = try c.integer("input_size", in: 1...8192, default: 32)
        patchSize = try c.integer("patch_size", in: 1...1024, default: 2)
        inChannels = try c.integer("in_channels", in: 1...1024, default: 4)
        width = try c.integer("hidden_size", in: 4...65536)
        depth = try c.integer("depth", in: 1...4096)
        heads = try c.integer("num_heads", in: 1...1024)
        classes = try c.integer("num_classes", in: 1...10_000_000, default: 1000)
        timeFeatures = try c.integer("frequency_embedding_size", in: 2...65536, default: 256)
        let ratio = try c.number("mlp_ratio", in: 0.001...1024, default: 4)
        mlpWidth = max(1, Int(Double(width) * ratio))
        outChannels = try c.bool("learn_sigma", default: true) ? inChannels * 2 : inChannels
        let dropout = try c.number("class_dropout_prob", in: 0...1, default: 0.1)
        classRows = classes + (dropout > 0 ? 1 : 0)
        naming = .official
        secondNormEps = 1e-6
        self.conventions = conventions ?? .official
        let (own, given) = (nullClass, try c.optionalInteger("null_class", in: 0...10_000_000))
        guard given == nil || given == own else {
            throw DiffError(
                .unsupported,
                "\(c.place(of: "null_class")): only \(classes), the row after the classes, can stand for no class, and only "
                    + "with a class_dropout_prob above 0")
        }
    }

    private init(diffusers c: JSONObject, _ conventions: DiTConventions?) throws(DiffError) {
        heads = try c.integer("num_attention_heads", in: 1...1024)
        let headDim = try c.integer("attention_head_dim", in: 1...65536)
        inputSize = try c.integer("sample_size", in: 1...8192, default: 32)
        patchSize = try c.integer("patch_size", in: 1...1024, default: 2)
        inChannels = try c.integer("in_channels", in: 1...1024, default: 4)
        outChannels = try c.integer("out_channels", in: 1...2048, default: inChannels)
        depth = try c.integer("num_layers", in: 1...4096)
        classes = try c.integer("num_embeds_ada_norm", in: 1...10_000_000, default: 1000)
        width = heads * headDim
        mlpWidth = 4 * width
        classRows = classes + 1
        timeFeatures = 256
        naming = .diffusers
        secondNormEps = Float(try c.number("norm_eps", in: 0...1, default: 1e-5))
        self.conventions = .official
        try settle(conventions, c)
    }

    /// The conventions of weights under diffusers names: both published codes run them.
    private mutating func settle(_ conventions: DiTConventions?, _ c: JSONObject) throws(DiffError) {
        // Official weights were converted with the default of 1e-5, which the official code does not use.
        let isPublishedEps = secondNormEps == 1e-5 || secondNormEps == 1e-6
        guard conventions != .official || isPublishedEps else {
            throw DiffError(
                .unsupported,
                "\(c.place(of: "norm_eps")): \(secondNormEps) is not the official code's; open the model with the conventions "
                    + "\"diffusers\"")
        }
        self.conventions = conventions ?? (isPublishedEps ? .official : .diffusers)
        guard conventions == nil else { return }
        assumption =
            isPublishedEps
            ? "a DiT under diffusers names, taken for converted official weights: the official code's conventions (time "
                + "frequencies over 128, eps 1e-6). If it was trained in diffusers, open it with the conventions \"diffusers\""
            : Self.trainedInDiffusers("norm_eps is not the official code's")
    }

    private static func trainedInDiffusers(_ sign: String) -> String {
        "\(sign), so the model was trained in diffusers: its conventions are used (time frequencies over 127, norm_eps of the "
            + "config). The conventions \"official\" override this"
    }

    /// Takes notice that blocks have embedders of their own, which only training in diffusers gives.
    mutating func foundOwnEmbedders() {
        guard assumption != nil, conventions == .official else { return }
        conventions = .diffusers
        assumption = Self.trainedInDiffusers("the blocks' embedders differ")
    }

    private func check(_ place: String) throws(DiffError) {
        guard width <= 65536, width % heads == 0 else {
            throw DiffError(.format, "\(place): a width of \(width) is not divisible into \(heads) heads")
        }
        guard width % 4 == 0 else { throw DiffError(.format, "\(place): the width \(width) is not a multiple of 4") }
        guard inputSize % patchSize == 0 else {
            throw DiffError(.format, "\(place): an input of \(inputSize) has no patches of \(patchSize)")
        }
        guard timeFeatures % 2 == 0 else {
            throw DiffError(.format, "\(place): frequency_embedding_size \(timeFeatures) is odd")
        }
        guard outChannels == inChannels || outChannels == 2 * inChannels else {
            throw DiffError(.format, "\(place): \(outChannels) output channels for \(inChannels) input channels")
        }
        guard tokens <= Self.maxTokens, patchSize * patchSize * outChannels <= 1 << 22, mlpWidth <= 1 << 22 else {
            throw DiffError(.format, "\(place): \(tokens) tokens of \(patchSize) x \(patchSize) patches are too many")
        }
    }
}
