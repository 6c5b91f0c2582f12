public import DiffCheckpoint
public import DiffTensor

/// What CLAP's text tower makes of texts.
public struct CLAPTextOutput: Sendable {
    /// One vector for each token: [texts, tokens, width].
    public let states: Tensor
    /// What is read off the first token, [texts, width].
    public let pooled: Tensor
    /// The same projected to the space that texts and sounds share, [texts, projection].
    public let projected: Tensor
    /// The same with a length of 1: what the pipelines are told.
    public let vectors: Tensor
}

/// CLAP's text tower (Wu et al. 2023): RoBERTa over the tokens of a text, and a projection. Loaded from `ClapTextModelWithProjection` and from
/// a whole `ClapModel` of transformers, whose tower for sounds is left out.
///
/// Immutable after loading; any number of runs may use one encoder at once. A text's bits do not depend on the others of its batch.
public final class CLAPTextEncoder: Sendable {
    /// Sizes and options.
    public let configuration: CLAPTextConfiguration
    /// Sites of the layers, their attention and their MLP, by module path.
    public let layout: SiteLayout
    /// Parts of the file that texts do not need, such as `audio_model`.
    public let unused: [String]
    private let tokens: WeightMatrix
    /// Of positions, and of the one type of token that there is in a text.
    private let positions: Tensor, type: Tensor
    private let embeddingNorm: LayerNorm
    private let layers: [CLAPTextLayer]
    private let pooler, first, second: Linear

    /// Parts of a whole `ClapModel` that are known and not run.
    private static let others = ["audio_model", "audio_projection", "logit_scale_a", "logit_scale_t"]

    /// Loads the encoder. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: CLAPTextConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every layer has tensors of its own; a config that claims more of them must not make us build them first.
        guard c.layers <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.layers) layers")
        }
        let tower = weights.scope("text_model")
        let embeddings = tower.scope("embeddings")
        tokens = try WeightMatrix(embeddings.tensor("word_embeddings.weight", [c.vocabulary, c.width]))
        positions = try embeddings.tensor("position_embeddings.weight", [c.positions, c.width])
            .widened(budget: weights.options.budget)
        type = try embeddings.tensor("token_type_embeddings.weight", [c.tokenTypes, c.width])
            .widened(budget: weights.options.budget).rows(0, 1)
        embeddingNorm = try LayerNorm(embeddings.scope("LayerNorm"), c.width, eps: c.eps)
        var layout = SiteLayout(family: "clap_text")
        var layers: [CLAPTextLayer] = []
        for index in Indices(below: c.layers) {
            layers.append(try CLAPTextLayer(tower.scope("encoder.layer").scope(index: index), c, &layout))
        }
        pooler = try Linear(tower.scope("pooler.dense"), c.width, c.width, of: .vectors)
        let projection = weights.scope("text_projection")
        first = try Linear(projection.scope("linear1"), c.width, c.projection, of: .vectors)
        second = try Linear(projection.scope("linear2"), c.projection, c.projection, of: .vectors)
        unused = Self.leaveOut(weights)
        try weights.finish()
        (self.configuration, self.layout, self.layers) = (c, layout, layers)
    }

    /// Notes that what is for sounds is left out on purpose, and gives the names of it that there are.
    private static func leaveOut(_ weights: Weights) -> [String] {
        var found: [String] = []
        for name in weights.table.names.each {
            for part in others.each where name == part || name.hasPrefix("\(part).") {
                if !found.each.contains(part) { found.append(part) }
            }
        }
        weights.markUsed { name in
            others.each.contains { name == $0 || name.hasPrefix("\($0).") }
        }
        return found
    }

    /// What becomes of texts given as tokens, all of one length, padding included.
    ///
    /// `mask` says which tokens are seen, row by row; nil: all. A text alone at its own length, without a mask, has the vector that it has
    /// with padding. Throws `shape` for texts of several lengths, more tokens than there are positions or a mask of other sizes,
    /// `invalidArgument` for a token outside the vocabulary or a row without any visible, `cancelled`, memory errors.
    public func callAsFunction(
        _ ids: [[Int]], mask: [[Bool]]? = nil, _ run: Run
    ) throws(DiffError) -> CLAPTextOutput {
        let c = configuration
        let length = try TokenRows.length(ids, most: c.maxTokens, "the text encoder's positions")
        var h = try embedded(ids, length, run)
        let seen = try mask.map { (mask) throws(DiffError) in try TokenRows.hidden(mask, ids.count, length, run) }
        for layer in layers.each { h = try layer(h, seen, run) }
        let rows = try run.tokens(h, 0, 1).reshaped(Shape(ids.count, c.width))
        let pooled = try run.softlyBounded(pooler(rows, run), by: 1)
        let projected = try second(first(pooled, run, c.projectionActivation), run)
        return CLAPTextOutput(states: h, pooled: pooled, projected: projected, vectors: try normalised(projected, run))
    }

    /// [texts, tokens, width]: the sum of what tokens, their positions and their type stand for, normalised.
    private func embedded(_ ids: [[Int]], _ length: Int, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        let table = try positions.reshaped(Shape(1, c.positions, c.width))
        let words = try run.embedding(tokens, ids.flattened { $0 })
        let places = try run.gatherRows(table, ids.flattened { position(of: $0) })
        let typed = try run.addTable(words.reshaped(Shape(words.shape[1], 1, c.width)), type)
        let sum = try run.add(typed.reshaped(places.shape), places)
        return try embeddingNorm(sum.reshaped(Shape(ids.count, length, c.width)), run)
    }

    /// Rows of the position table for a text: counted from the padding token's number on, which is that of padding itself, wherever it stands.
    private func position(of text: [Int]) -> [Int] {
        var (places, last): ([Int], Int) = ([], configuration.padding)
        for token in text.each {
            guard token != configuration.padding else {
                places.append(configuration.padding)
                continue
            }
            last &+= 1
            places.append(last)
        }
        return places
    }

    /// Vectors [texts, width] of length 1.
    private func normalised(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        // A norm by the mean of squares, and a weight that makes it one by their sum.
        let width = Float(max(1, x.shape.last))
        let weight = try run.filled(x.shape.last, with: 1 / width.squareRoot())
        return try run.rmsNorm(x, weight: weight, eps: 1e-24 / width)
    }
}
