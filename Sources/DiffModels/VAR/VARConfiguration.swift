public import DiffCheckpoint
public import DiffTensor

/// Sizes and options of a VAR transformer. Keys are those of the published code; what a config leaves out is read off the
/// shapes of the checkpoint, so that an official file needs no config at all.
public struct VARConfiguration: Sendable, Equatable {
    /// Number of blocks.
    public var depth: Int
    /// Width of the residual stream.
    public var width: Int
    /// Attention heads; the width divides by it.
    public var heads: Int
    /// Hidden width of a block's MLP.
    public var mlpWidth: Int
    /// Number of classes; the class table has one more row, for none.
    public var classes: Int
    /// Number of codes.
    public var vocabulary: Int
    /// Channels of a code.
    public var codeChannels: Int
    /// Whether all blocks share one modulation layer and add a vector of their own (512-pixel model).
    public var sharesModulation: Bool
    /// Whether queries and keys are divided by their length.
    public var normalisesHeads: Bool
    /// eps of every norm.
    public var eps: Float
    /// The scales.
    public var schedule: ScaleSchedule
    /// What neither the config nor the tensors tell and was taken as in the published models; nil when there is nothing.
    public private(set) var assumption: String?

    /// The class index that means "no class".
    public var nullClass: Int { classes }

    /// Reads a config; `weights` is the scope of the transformer's tensors. Throws `format` for values out of range or that do
    /// not fit each other, and names what neither the config nor the tensors tell.
    public init(_ c: JSONObject, _ weights: Weights) throws(DiffError) {
        try Self.rules.refuse(c)
        let shapes = VARShapes(weights: weights)
        depth = try Self.integer(c, "depth", in: 1...4096, shapes.depth)
        width = try Self.integer(c, "embed_dim", in: 1...65536, shapes.rows("blocks.0.attn.proj.weight"))
        let tellsHeads = shapes.heads != nil || c.has("num_heads")
        heads = try Self.integer(c, "num_heads", in: 1...1024, shapes.heads ?? max(1, width / 64))
        classes = try Self.integer(
            c, "num_classes", in: 1...10_000_000, shapes.rows("class_emb.weight").flatMap { Checked.subtract($0, 1) })
        vocabulary = try Self.integer(c, "vocab_size", in: 2...1_000_000, shapes.rows("head.weight"))
        codeChannels = try Self.integer(c, "z_channels", in: 1...1024, shapes.columns("word_embed.weight"))
        if c.has("mlp_ratio") {
            let ratio = try c.number("mlp_ratio", in: 0.001...1024)
            mlpWidth = max(1, Checked.integer((Double(width) * ratio).rounded(.toNearestOrEven)) ?? 0)
        } else {
            mlpWidth = shapes.rows("blocks.0.ffn.fc1.weight") ?? 4 &* width
        }
        sharesModulation = try c.bool("shared_aln", default: weights.has("shared_ada_lin.1.weight"))
        normalisesHeads = try c.bool("attn_l2_norm", default: weights.has("blocks.0.attn.scale_mul_1H11"))
        eps = Float(try c.number("norm_eps", in: 0...1, default: 1e-6))
        let sides = c.has("patch_nums") ? try c.integers("patch_nums", in: 1...ScaleSchedule.maxSide) : shapes.sides
        guard let sides else {
            throw DiffError(.format, "\(c.place): no patch_nums, and the checkpoint's tensors do not tell them")
        }
        schedule = try ScaleSchedule(sides)
        let tellsScales = c.has("patch_nums") || weights.has("lvl_1L")
        if !tellsHeads || !tellsScales {
            let guesses = [
                tellsHeads ? nil : "\(heads) heads, one for 64 of the width (num_heads)",
                tellsScales ? nil : "the scales \(schedule.sides), the published ones with as many tokens (patch_nums)",
            ]
            assumption = "taken as in the published models: \(guesses.compactMap(\.self).joined(separator: ", "))"
        }
        guard width % max(1, heads) == 0, mlpWidth <= 1 << 22 else {
            throw DiffError(.format, "\(c.place): a width of \(width) is not divisible into \(heads) heads")
        }
    }

    private static func integer(
        _ c: JSONObject, _ key: String, in range: ClosedRange<Int>, _ inferred: Int?
    ) throws(DiffError) -> Int {
        guard let inferred, !c.has(key) else { return try c.integer(key, in: range) }
        guard range.contains(inferred) else {
            throw DiffError(.format, "\(c.place): the tensors mean a \(key) of \(inferred), allowed are \(range)")
        }
        return try c.integer(key, in: range, default: inferred)
    }
}

/// What the shapes of an official state dict tell about a VAR.
private struct VARShapes {
    let weights: Weights

    func rows(_ name: String) -> Int? { weights.shape(of: name).map { $0[0] } }
    func columns(_ name: String) -> Int? { weights.shape(of: name).map { $0[1] } }

    var depth: Int? {
        var depth = 0
        while depth <= 4096, weights.has("blocks.\(depth).attn.proj.weight") { depth &+= 1 }
        return depth == 0 ? nil : depth
    }

    var heads: Int? { weights.shape(of: "blocks.0.attn.scale_mul_1H11").map { $0[1] } }

    /// Counts of the tokens of each level in the buffer `lvl_1L`; else the published schedule of as many tokens.
    var sides: [Int]? {
        if let levels = try? weights.table.integers(weights.full("lvl_1L")), !levels.isEmpty {
            var counts: [Int] = []
            for level in levels.each {
                guard level == counts.count || level == counts.count &- 1, level >= 0 else { return nil }
                if level == counts.count { counts.append(0) }
                counts.update(at: level) { $0 &+= 1 }
            }
            return counts.map { Checked.root($0) ?? 0 }
        }
        let tokens = columns("pos_1LC")
        return [ScaleSchedule.sides256, ScaleSchedule.sides512].first { sides in
            sides.each.reduce(0) { $0 &+ $1 &* $1 } == tokens
        }
    }
}
