/// Which queries of an attention see which keys: said by the model, rewritten by methods, interpreted by the attention op.
public enum AttentionPattern: Sendable {
    /// All see all.
    case dense
    /// Each run of queries sees its own first keys.
    case spans([AttentionSpan])
    /// Tokens see those of their own group, and a few that all groups share.
    case groups(AttentionGroups)
    /// All see the keys that a mask leaves visible.
    case masked(KeyMask)
    /// How much a query sees of a key depends on how far apart they stand.
    case byDistance(DistanceBias)
}

/// A run of queries that see the same keys: those of the tokens before `keys`.
public struct AttentionSpan: Sendable, Equatable {
    /// Queries `first ..< first + count`.
    public let first: Int, count: Int
    /// Keys `0 ..< keys`.
    public let keys: Int

    /// `count` queries from `first` on that see the first `keys` keys.
    public init(first: Int, count: Int, keys: Int) { (self.first, self.count, self.keys) = (first, count, keys) }
}

/// Tokens in groups that are one attention each: token n belongs to group n mod ``count``.
///
/// On a grid of T x F tokens with F groups a group is one column of the grid, such as one frequency of a spectrogram at all times. Its
/// queries see the keys of the group in order, then the shared ones, then those of all groups near them in time, in one softmax. For
/// self-attention whose tokens fill the grid.
public struct AttentionGroups: Sendable, Equatable {
    /// Number of groups; the number of tokens is a multiple of it.
    public let count: Int
    /// Whether queries see the keys of their group.
    public let seesOwnKeys: Bool
    /// Tokens whose keys every query sees besides. One that is named twice counts twice.
    public let shared: [Int]
    /// Whether a shared token counts once where it is in the group or the window too; else twice.
    public let countsOnce: Bool
    /// Rows of the grid to either side of a query whose tokens it sees in all groups; 0: none, not its own row either. Those of its own
    /// group count once with ``seesOwnKeys``.
    public let window: Int

    /// `count` groups; see the properties.
    public init(
        count: Int, seesOwnKeys: Bool = true, shared: [Int] = [], countsOnce: Bool = false, window: Int = 0
    ) {
        (self.count, self.seesOwnKeys, self.shared, self.countsOnce) = (count, seesOwnKeys, shared, countsOnce)
        self.window = window
    }

    /// How many tokens the windows of all queries hold together, of a grid of `times` rows, that are not seen as a query's own.
    func pairsNear(times: Int) -> Double {
        guard window > 0, count > 0, times > 0 else { return 0 }
        let (times, side) = (Double(times), Double(min(window, times &- 1)))
        // All windows, without what the first and the last ones have outside.
        let rows = times * (2 * side + 1) - side * (side + 1)
        return rows * Double(count) * Double(seesOwnKeys ? count &- 1 : count)
    }
}

/// Which keys are visible in each sample, such as those of a padded text: f32 [batch, keys].
public enum KeyMask: Sendable {
    /// Added to the scaled products of queries and keys: 0 leaves a key as it is, -infinity hides it. A sample without any
    /// finite bias is refused.
    case bias(Tensor)
    /// 1 for a key, 0 for padding: the bias is (1 - mask) · -10000, as in diffusers. A hidden key has no weight at all unless
    /// all are hidden: then none counts as hidden.
    case visible(Tensor)
}

/// What is added to the scaled products of queries and keys by the distance between them, head by head.
public struct DistanceBias: Sendable {
    /// f32 [heads, queries + keys - 1], or [1, ...] for the same in all heads: entry j - i + queries - 1 is added for query i and key
    /// j. Minus infinity hides the key; each query must keep one.
    public let values: Tensor
    /// Which keys are visible in each sample besides.
    public let mask: KeyMask?

    /// See the properties.
    public init(_ values: Tensor, mask: KeyMask? = nil) { (self.values, self.mask) = (values, mask) }

    /// The bias between `tokens` queries and as many keys that `value` gives for a head and a distance, from query to key.
    public init(
        _ tokens: Int, heads: Int, mask: KeyMask? = nil, _ run: Run, _ value: (_ head: Int, _ distance: Int) -> Float
    ) throws(DiffError) {
        let width = max(1, 2 &* tokens &- 1)
        let values = try run.workspace.take(Shape(heads, width))
        self.init(values, mask: mask)
        guard run.isLive, let floats = unsafe values.floats else { return }
        for head in Indices(below: heads) {
            for position in Indices(below: width) {
                unsafe floats[head &* width &+ position] = value(head, position &+ 1 &- tokens)
            }
        }
    }

    /// Every query sees the keys up to its own position: for as many queries as keys.
    public static func causal(_ tokens: Int, _ run: Run) throws(DiffError) -> DistanceBias {
        try DistanceBias(tokens, heads: 1, run) { $1 > 0 ? -.infinity : 0 }
    }
}

extension KeyMask {
    /// Hides the keys that are false in `visible`, one row for each sample. Throws `shape` unless all rows have as many.
    public static func hiding(_ visible: [[Bool]], _ run: Run) throws(DiffError) -> KeyMask {
        let keys = visible.first?.count ?? 0
        guard visible.each.allSatisfy({ $0.count == keys }) else {
            throw DiffError(.shape, "rows of a key mask have different lengths")
        }
        let bias = try run.workspace.take(Shape(visible.count, keys))
        guard run.isLive, let floats = unsafe bias.floats else { return .bias(bias) }
        for (sample, row) in visible.numbered {
            for (key, isVisible) in row.numbered { unsafe floats[sample &* keys &+ key] = isVisible ? 0 : -.infinity }
        }
        return .bias(bias)
    }
}
