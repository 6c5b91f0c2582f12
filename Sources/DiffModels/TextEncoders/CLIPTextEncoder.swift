public import DiffCheckpoint
public import DiffTensor

/// What CLIP's text tower makes of texts.
public struct CLIPTextOutput: Sendable {
    /// One vector for each token: [texts, tokens, width].
    public let states: Tensor
    /// One vector for each text, [texts, width] or, projected, [texts, projection]; nil when it was not asked for.
    public let pooled: Tensor?
}

/// CLIP's text tower (Radford et al. 2021): a causal transformer over the tokens of a text. Loaded from `CLIPTextModel` and
/// `CLIPTextModelWithProjection` of transformers.
///
/// Immutable after loading; any number of runs may use one encoder at once. A text's bits do not depend on the others of its batch.
public final class CLIPTextEncoder: Sendable {
    /// Sizes and options.
    public let configuration: CLIPTextConfiguration
    /// Sites of the layers, their attention and their MLP, by module path.
    public let layout: SiteLayout
    private let tokens: WeightMatrix
    private let positions: Tensor
    private let layers: [CLIPTextLayer]
    private let finalNorm: LayerNorm
    private let projection: Linear?

    /// Loads the encoder. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: CLIPTextConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every layer has tensors of its own; a config that claims more of them must not make us build them first.
        guard c.layers <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.layers) layers")
        }
        // Transformers 5 leaves the outer scope of a tower without projection away.
        let isBare = weights.has("embeddings.token_embedding.weight")
        let tower = isBare ? weights : weights.scope("text_model")
        let embeddings = tower.scope("embeddings")
        tokens = try WeightMatrix(embeddings.tensor("token_embedding.weight", [c.vocabulary, c.width]))
        positions = try embeddings.tensor("position_embedding.weight", [c.positions, c.width])
            .widened(budget: weights.options.budget)
        // 0, 1, 2 and so on, in files of old programs.
        embeddings.markUsed(prefix: "position_ids")
        var layout = SiteLayout(family: "clip_text")
        var layers: [CLIPTextLayer] = []
        for index in Indices(below: c.layers) {
            let scope = tower.scope("encoder.layers").scope(index: index)
            layers.append(try CLIPTextLayer(scope, c, &layout))
        }
        finalNorm = try LayerNorm(tower.scope("final_layer_norm"), c.width, eps: c.eps)
        if c.isProjected ?? weights.has("text_projection.weight") {
            projection = try Linear(weights.scope("text_projection"), c.width, c.projection, of: .vectors, bias: false)
        } else {
            projection = nil
            weights.markUsed(prefix: "text_projection.")
        }
        try weights.finish()
        (self.configuration, self.layout, self.layers) = (c, layout, layers)
    }

    /// Whether the pooled state is projected.
    public var isProjected: Bool { projection != nil }
    /// Width of ``CLIPTextOutput/pooled``.
    public var pooledWidth: Int { projection == nil ? configuration.width : configuration.projection }

    /// States of texts given as tokens, all of one length, padding included.
    ///
    /// `hidden` says which: nil those of the last layer after the final norm, n those of layer n without it, 0 the embeddings. The pooled
    /// state, which takes all layers, is made where `pools`. Throws `shape` for texts of several lengths or more tokens than there are
    /// positions, `invalidArgument` for a token outside the vocabulary or a layer that is not there, `cancelled`, memory errors.
    public func callAsFunction(
        _ ids: [[Int]], hidden: Int? = nil, pools: Bool = true, _ run: Run
    ) throws(DiffError) -> CLIPTextOutput {
        let c = configuration
        let wanted = hidden ?? layers.count
        guard wanted >= 0, wanted <= layers.count else {
            throw DiffError(.invalidArgument, "states of layer \(wanted) of \(layers.count)")
        }
        let length = try TokenRows.length(ids, most: c.positions, "the text encoder's positions")
        let rows = try run.embedding(tokens, ids.flattened { $0 })
        var h = try run.addTable(
            rows.reshaped(Shape(ids.count, length, c.width)), positions.rows(0, length))
        let causal = try DistanceBias.causal(length, run)
        var states = h
        for (index, layer) in layers.numbered where pools || index < wanted {
            h = try layer(h, causal, run)
            if index &+ 1 == wanted { states = h }
        }
        if hidden == nil { states = try normalised(states, run) }
        return CLIPTextOutput(states: states, pooled: pools ? try pooled(h, ids, run) : nil)
    }

    /// The final norm of states [texts, tokens, width] of any layer.
    public func normalised(_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor { try finalNorm(states, run) }

    /// The states of the last layer where the texts end, after the final norm and the projection.
    private func pooled(_ states: Tensor, _ ids: [[Int]], _ run: Run) throws(DiffError) -> Tensor {
        let (length, width) = (states.shape[1], states.shape[2])
        var ends: [Int] = []
        for (number, text) in ids.numbered { ends.append(number &* length &+ end(of: text)) }
        let rows = try run.gatherRows(states.reshaped(Shape(1, states.shape.rows, width)), ends)
        let pooled = try finalNorm(rows, run).reshaped(Shape(ids.count, width))
        return try projection.map { (layer) throws(DiffError) in try layer(pooled, run) } ?? pooled
    }

    /// Where a text ends; its first token when it has no end.
    private func end(of text: [Int]) -> Int {
        var best = 0
        for (position, token) in text.numbered {
            if let end = configuration.endToken {
                if token == end { return position }
            } else if token > text.at(best) ?? .min {
                best = position
            }
        }
        return best
    }
}
