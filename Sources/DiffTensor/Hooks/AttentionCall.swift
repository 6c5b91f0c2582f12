/// An attention as the model asks for it; a method may change what the queries see before it is computed.
///
/// Queries, keys and values are final (after bias, norm and rotary position).
public struct AttentionCall: Sendable {
    /// Where the attention stands.
    public internal(set) var site: Site
    public var queries: AttentionRows, keys: AttentionRows, values: AttentionRows
    /// Number of heads; the width divides by it.
    public let heads: Int
    /// What products of queries and keys are multiplied by; nil: 1/√headDim.
    public private(set) var scale: Float?
    /// Which queries see which keys; empty: all see all.
    public private(set) var spans: [AttentionSpan] = []
    /// False when keys come from a context rather than from the queries' own sequence.
    public let isSelfAttention: Bool
    /// Rows and columns of the tokens on their grid, and tokens in front of it; 0 x 0 when there is no grid.
    public let gridHeight: Int, gridWidth: Int, prefix: Int

    /// Self-attention over a fused [batch, tokens, 3 * width] projection.
    public init(
        site: Site, qkv: Tensor, heads: Int, gridHeight: Int = 0, gridWidth: Int = 0, prefix: Int = 0
    ) throws(DiffError) {
        self.site = site
        queries = try AttentionRows(qkv, part: 0, of: 3)
        keys = try AttentionRows(qkv, part: 1, of: 3)
        values = try AttentionRows(qkv, part: 2, of: 3)
        self.heads = heads
        isSelfAttention = true
        (self.gridHeight, self.gridWidth, self.prefix) = (gridHeight, gridWidth, prefix)
    }

    /// Self-attention over a fused [batch, tokens, 3 * width] projection, each span of queries to the tokens it may see.
    public init(
        site: Site, qkv: Tensor, heads: Int, scale: Float, spans: [AttentionSpan]
    ) throws(DiffError) {
        try self.init(site: site, qkv: qkv, heads: heads)
        (self.scale, self.spans) = (scale, spans)
    }

    /// Self-attention of `queries` [batch, tokens, width] to the tokens of `cache`, each span to those it may see.
    public init(
        site: Site, queries: Tensor, cache: KeyValueCache, heads: Int, scale: Float, spans: [AttentionSpan],
        gridHeight: Int = 0, gridWidth: Int = 0
    ) throws(DiffError) {
        self.site = site
        self.queries = try AttentionRows(queries)
        keys = try AttentionRows(cache.keys)
        values = try AttentionRows(cache.values)
        (self.heads, self.scale, self.spans) = (heads, scale, spans)
        isSelfAttention = true
        (self.gridHeight, self.gridWidth, prefix) = (gridHeight, gridWidth, 0)
    }
}
