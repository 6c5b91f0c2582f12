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
    /// Which queries see which keys.
    public var pattern = AttentionPattern.dense
    /// False when keys come from a context rather than from the queries' own sequence.
    public let isSelfAttention: Bool
    /// Rows and columns of the tokens on their grid, and tokens before it; 0 x 0 when there is no grid.
    public let gridHeight: Int, gridWidth: Int, prefix: Int

    /// Self-attention over a fused [batch, tokens, 3 * width] projection, of which only the first `asking` tokens have queries (nil: all).
    public init(
        site: Site, qkv: Tensor, heads: Int, asking: Int? = nil, gridHeight: Int = 0, gridWidth: Int = 0,
        prefix: Int = 0
    ) throws(DiffError) {
        self.site = site
        let all = try AttentionRows(qkv, part: 0, of: 3)
        queries = if let asking { try all.rows(0, asking) } else { all }
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
        (self.scale, pattern) = (scale, .spans(spans))
    }

    /// Self-attention over a fused [batch, tokens, 3 * width] projection that depends on how far tokens are apart. `scale`: what products
    /// are multiplied by before, nil: 1/√headDim.
    public init(
        site: Site, qkv: Tensor, heads: Int, scale: Float? = nil, distances: DistanceBias
    ) throws(DiffError) {
        try self.init(site: site, qkv: qkv, heads: heads)
        (self.scale, pattern) = (scale, .byDistance(distances))
    }

    /// Self-attention of `queries` [batch, tokens, width] to the tokens of `buffer`, each span to those it may see.
    public init(
        site: Site, queries: Tensor, buffer: KeyValueBuffer, heads: Int, scale: Float, spans: [AttentionSpan],
        gridHeight: Int = 0, gridWidth: Int = 0
    ) throws(DiffError) {
        self.site = site
        self.queries = try AttentionRows(queries)
        keys = try AttentionRows(buffer.keys)
        values = try AttentionRows(buffer.values)
        (self.heads, self.scale, pattern) = (heads, scale, .spans(spans))
        isSelfAttention = true
        (self.gridHeight, self.gridWidth, prefix) = (gridHeight, gridWidth, 0)
    }
    /// Cross-attention of `queries` [batch, tokens, width] to a context: keys and values [batch, context tokens, width], of which
    /// each sample sees those that `mask` leaves visible (nil: all).
    public init(
        site: Site, queries: Tensor, keys: AttentionRows, values: AttentionRows, heads: Int, scale: Float? = nil,
        mask: KeyMask? = nil, gridHeight: Int = 0, gridWidth: Int = 0, prefix: Int = 0
    ) throws(DiffError) {
        self.site = site
        self.queries = try AttentionRows(queries)
        (self.keys, self.values) = (keys, values)
        (self.heads, self.scale, pattern) = (heads, scale, mask.map(AttentionPattern.masked) ?? .dense)
        isSelfAttention = false
        (self.gridHeight, self.gridWidth, self.prefix) = (gridHeight, gridWidth, prefix)
    }
}
