public import DiffCheckpoint
public import DiffTensor

/// Sizes of a MAR. Keys are the arguments of the published code; what a config leaves out is read off the shapes of the checkpoint, so that
/// an official file needs no config but for its heads.
public struct MARConfiguration: Sendable, Equatable {
    /// One of the two stacks of blocks.
    public struct Stack: Sendable, Equatable {
        /// Number of blocks.
        public var depth: Int
        /// Width of the stream.
        public var width: Int
        /// Attention heads; the width divides by it.
        public var heads: Int
        /// Hidden width of a block's MLP.
        public var mlpWidth: Int
    }

    /// The blocks that see the known tokens.
    public var encoder: Stack
    /// The blocks that see all positions.
    public var decoder: Stack
    /// Tokens of a picture, a square.
    public var tokens: Int
    /// Rows before the tokens, all of which hold the class.
    public var buffer: Int
    /// Channels of the latent, and latents along the side of a token.
    public var channels: Int, patchSize: Int
    /// Number of classes; the class after them means "no class".
    public var classes: Int
    /// Residual blocks of the diffusion head, and their width.
    public var headDepth: Int, headWidth: Int
    /// Number of sinusoidal time features of the head; even.
    public var timeFeatures: Int
    /// What neither the config nor the tensors tell and was taken as in the published models; nil when there is nothing.
    public private(set) var assumption: String?

    /// eps of every norm.
    static let eps: Float = 1e-6

    /// The class index that means "no class".
    public var nullClass: Int { classes }
    /// Tokens along one side.
    public var grid: Int { Checked.root(tokens) ?? 0 }
    /// Numbers of a token.
    public var tokenWidth: Int { channels &* patchSize &* patchSize }
    /// Side of the square latent.
    public var side: Int { grid &* patchSize }
    /// Rows of the decoder.
    public var rows: Int { Checked.sum(buffer, tokens) }

    /// Reads a config; `weights` is the scope of the tensors. Throws `format` for values out of range or that do not fit each other, and names
    /// what neither the config nor the tensors tell.
    public init(_ c: JSONObject, _ weights: Weights) throws(DiffError) {
        try Self.rules.refuse(c)
        let shapes = MARShapes(weights: weights)
        func read(_ key: String, in range: ClosedRange<Int>, _ inferred: Int?) throws(DiffError) -> Int {
            guard let inferred, !c.has(key) else { return try c.integer(key, in: range) }
            guard range.contains(inferred) else {
                throw DiffError(.format, "\(c.place): the tensors mean a \(key) of \(inferred), allowed are \(range)")
            }
            return try c.integer(key, in: range, default: inferred)
        }
        var assumed: [String] = []
        func stack(_ name: String) throws(DiffError) -> Stack {
            let width = try read("\(name)_embed_dim", in: 1...65536, shapes.rows("\(name)_norm.weight"))
            let key = "\(name)_num_heads"
            let usual = Self.heads(width: width)
            if !c.has(key) { assumed.append("\(usual) heads of the \(name) (\(key))") }
            let ratio = try c.optionalNumber("mlp_ratio", in: 0.001...1024)
            let told = ratio.flatMap { Checked.integer((Double(width) * $0).rounded(.down)) }
            return Stack(
                depth: try read("\(name)_depth", in: 1...4096, shapes.count("\(name)_blocks", "norm1.weight")),
                width: width, heads: try c.integer(key, in: 1...1024, default: usual),
                mlpWidth: max(1, told ?? shapes.rows("\(name)_blocks.0.mlp.fc1.weight") ?? 4 &* width))
        }
        encoder = try stack("encoder")
        decoder = try stack("decoder")
        tokens = shapes.columns("diffusion_pos_embed_learned") ?? 0
        let rows = shapes.columns("encoder_pos_embed_learned") ?? 0
        buffer = try read("buffer_size", in: 1...16384, rows > tokens ? rows &- tokens : nil)
        patchSize = try c.integer("patch_size", in: 1...64, default: 1)
        let area = patchSize &* patchSize
        channels = try read(
            "vae_embed_dim", in: 1...1024, shapes.columns("z_proj.weight").map { $0 / max(1, area) })
        classes = try read("class_num", in: 1...10_000_000, shapes.rows("class_emb.weight"))
        headDepth = try read("diffloss_d", in: 1...4096, shapes.count("diffloss.net.res_blocks", "in_ln.weight"))
        headWidth = try read("diffloss_w", in: 1...65536, shapes.rows("diffloss.net.input_proj.bias"))
        timeFeatures = shapes.columns("diffloss.net.time_embed.mlp.0.weight") ?? 256
        if !assumed.isEmpty {
            assumption = "taken as in the published models: \(assumed.joined(separator: ", "))"
        }
        try checkSide(c)
        try check(c.place)
    }

    /// Heads of the published models: 12 of 768, else 16; of other widths one for 64.
    private static func heads(width: Int) -> Int {
        switch width {
        case 768: 12
        case 1024, 1280: 16
        default: max(1, width / 64)
        }
    }

    /// The positions tell the size; one that the config says too must be the same, or stands alone where the positions are not there.
    private mutating func checkSide(_ c: JSONObject) throws(DiffError) {
        let image = try c.integer("img_size", in: 1...65536, default: 256)
        let stride = try c.integer("vae_stride", in: 1...1024, default: 16)
        let side = image / max(1, stride &* patchSize)
        guard let told = Checked.multiply(side, side) else { throw c.error("img_size", "\(image): too large") }
        if tokens == 0 { tokens = told }
        guard c.has("img_size"), told != tokens else { return }
        throw DiffError(
            .incompatible,
            "\(c.place(of: "img_size")): pictures of \(image) are \(told) tokens of \(stride &* patchSize) pixels, the "
                + "checkpoint has positions of \(tokens); set img_size, vae_stride and patch_size as it was trained")
    }

    @inline(never)
    private static func check(_ stack: Stack, _ name: String, _ place: String) throws(DiffError) {
        guard stack.width % max(1, stack.heads) == 0 else {
            throw DiffError(
                .format,
                "\(place): the \(name)'s width of \(stack.width) is not divisible into \(stack.heads) heads "
                    + "(\(name)_num_heads)")
        }
        guard stack.mlpWidth <= 1 << 22 else {
            throw DiffError(
                .format, "\(place): \(stack.mlpWidth) features of the \(name)'s MLPs, at most \(1 << 22) can be")
        }
    }

    private func check(_ place: String) throws(DiffError) {
        try Self.check(encoder, "encoder", place)
        try Self.check(decoder, "decoder", place)
        guard tokens > 0, tokens <= DiTConfiguration.maxTokens, grid &* grid == tokens else {
            throw DiffError(
                .format, "\(place): \(tokens) tokens are no square of at most \(DiTConfiguration.maxTokens)")
        }
        guard timeFeatures % 2 == 0, timeFeatures >= 2 else {
            throw DiffError(.format, "\(place): \(timeFeatures) time features are odd")
        }
        guard tokenWidth <= 1 << 20 else { throw DiffError(.format, "\(place): tokens of \(tokenWidth) numbers") }
    }
}

/// What the shapes of an official state dict tell about a MAR.
private struct MARShapes {
    let weights: Weights

    func rows(_ name: String) -> Int? { weights.shape(of: name).map { $0[0] } }
    func columns(_ name: String) -> Int? { weights.shape(of: name).map { $0[1] } }

    /// Elements of the list `name`, each of which has `part`.
    func count(_ name: String, _ part: String) -> Int? {
        var count = 0
        while count <= 4096, weights.has("\(name).\(count).\(part)") { count &+= 1 }
        return count == 0 ? nil : count
    }
}
