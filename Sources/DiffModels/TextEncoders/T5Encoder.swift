public import DiffCheckpoint
public import DiffTensor

/// T5's encoder (Raffel et al. 2020): a transformer over the tokens of a text that sees all of them, whose attention depends on how far
/// they stand apart. Loaded from `T5EncoderModel` or a whole T5 of transformers.
///
/// Weights of half precision are widened as they are used: sums are f32, so the stream needs no clamp. Immutable after loading; any number
/// of runs may use one encoder at once. A text's bits do not depend on the others of its batch.
public final class T5Encoder: Sendable {
    /// Sizes and options.
    public let configuration: T5Configuration
    /// Sites of the blocks, their attention and their MLP, by module path.
    public let layout: SiteLayout
    private let tokens: WeightMatrix
    /// What attention adds, [buckets, heads].
    private let bias: [Float]
    private let buckets: RelativeBuckets
    private let blocks: [T5Block]
    private let finalNorm: Tensor

    /// More tokens than this are not encoded at once.
    public static let maxTokens = 1 << 16

    /// Loads the encoder; a decoder beside it is left out. Throws `format` listing every tensor that is missing, unused or of the wrong
    /// shape.
    public init(_ configuration: T5Configuration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every block has tensors of its own; a config that claims more of them must not make us build them first.
        guard c.layers <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.layers) blocks")
        }
        let (shared, own) = ("shared.weight", "encoder.embed_tokens.weight")
        let table = weights.first(of: [shared, own])
        tokens = try WeightMatrix(weights.tensor(table, [c.vocabulary, c.width]))
        if table == shared {
            try weights.markCopy(
                own, of: shared, remedy: "T5 has one table for both: take the file of a model that was saved whole")
        }
        let encoder = weights.scope("encoder")
        var layout = SiteLayout(family: "t5_encoder")
        var blocks: [T5Block] = []
        for index in Indices(below: c.layers) {
            blocks.append(try T5Block(encoder.scope("block").scope(index: index), c, &layout))
        }
        bias = try encoder.tensor(
            "block.0.layer.0.SelfAttention.relative_attention_bias.weight", [c.buckets, c.heads]
        ).widened(budget: weights.options.budget).array
        buckets = RelativeBuckets(count: c.buckets, maxDistance: c.maxDistance)
        finalNorm = try encoder.vector("final_layer_norm.weight", c.width)
        weights.markUsed(prefix: "decoder.")
        weights.markUsed(prefix: "lm_head.")
        try weights.finish()
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// Width of the states.
    public var width: Int { configuration.width }

    /// States [texts, tokens, width] of texts given as tokens, all of one length, padding included.
    ///
    /// `mask` says which tokens are seen, row by row; nil: all, padding too, as SD3 has it. Throws `shape` for texts of several lengths or
    /// a mask of other sizes, `invalidArgument` for a token outside the vocabulary or a row without any visible, `cancelled`, memory
    /// errors.
    public func callAsFunction(_ ids: [[Int]], mask: [[Bool]]? = nil, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        let length = try TokenRows.length(ids, most: Self.maxTokens, "tokens that are encoded at once")
        var h = try run.embedding(tokens, ids.flattened { $0 })
            .reshaped(Shape(ids.count, length, c.width))
        let hidden = try mask.map { (mask) throws(DiffError) in try TokenRows.hidden(mask, ids.count, length, run) }
        // Only the first block has the table, and all add it.
        let distances = try DistanceBias(length, heads: c.heads, mask: hidden, run) { head, distance in
            bias.at(buckets.bucket(of: distance) &* c.heads &+ head) ?? 0
        }
        for block in blocks.each { h = try block(h, distances, run) }
        return try run.rmsNorm(h, weight: finalNorm, eps: c.eps)
    }
}
