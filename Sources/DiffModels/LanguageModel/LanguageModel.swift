public import DiffCheckpoint
public import DiffTensor

/// A masked diffusion language model (LLaDA, iLLaDA, Dream): a bidirectional transformer over a sequence of fixed length.
///
/// One function serves plain decoding and every cache: a pass computes a set of positions, writes their keys and values into a full-length
/// memory and attends to all of it. Immutable after loading; any number of runs may use one model at once.
public final class LanguageModel: Sendable {
    /// Sizes and conventions.
    public let configuration: LanguageConfiguration
    /// Sites of the blocks, by module path.
    public let layout: SiteLayout
    private let embedding: WeightMatrix
    private let blocks: [LanguageBlock]
    private let finalNorm: Tensor
    private let head: Linear

    /// Loads the network. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: LanguageConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        guard c.layers <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.layers) blocks")
        }
        let names =
            switch c.family {
            case .llada: LanguageNames.llada
            case .illada, .dream: LanguageNames.llama
            }
        let (table, headName) = ("\(names.embedding).weight", "\(names.head).weight")
        if c.isTied {
            embedding = try weights.packed(table, [c.vocabulary, c.width])
            head = Linear(weight: embedding, bias: nil)
            try weights.markCopy(
                headName, of: table,
                remedy: "if the head is its own, the config's tie_word_embeddings or weight_tying must be false")
        } else {
            embedding = try WeightMatrix(weights.tensor(table, [c.vocabulary, c.width]))
            head = Linear(weight: try weights.packed(headName, [c.vocabulary, c.width]), bias: nil)
        }
        finalNorm = try weights.vector("\(names.finalNorm).weight", c.width)
        var layout = SiteLayout(
            family: c.family.rawValue,
            [.storesKeysAndValues, c.family == .dream ? .predictsNext : .predictsInPlace])
        var blocks: [LanguageBlock] = []
        for layer in Indices(below: c.layers) {
            let scope = weights.scope(names.blocks).scope(index: layer)
            let parameters = try LanguageBlockParameters(scope, names, c)
            blocks.append(LanguageBlock(parameters, c, layer: layer, name: scope.path, &layout))
        }
        try weights.markRotaryFrequencies(c)
        try weights.finish()
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// A memory for these sequences. Throws memory errors.
    public func memory(_ sequences: [KeyValueMemory.Sequence], _ run: Run) throws(DiffError) -> KeyValueMemory {
        let c = configuration
        return try KeyValueMemory(
            sequences, layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim, rotaryBase: c.rotaryBase, run)
    }

    /// One pass: stores keys and values of the query positions, gives what the last block makes of the wanted ones, [1, wanted, width],
    /// sequence by sequence.
    ///
    /// All arguments have an entry for each sequence of `memory`: all its tokens, the positions that are computed (none: it takes no
    /// part), and those of them whose results are wanted. Every other position counts with the keys and values of the last pass that
    /// computed it. A row's bits depend on its sequence alone, never on those beside it. Throws `shape`, `invalidArgument` for a token
    /// outside the vocabulary, `cancelled`, memory errors.
    public func states(
        _ sequences: [[Int]], queries: [PositionSet], wanted: [PositionSet], _ memory: KeyValueMemory, _ run: Run
    ) throws(DiffError) -> Tensor {
        let pass = try LanguagePass(sequences, queries, wanted, memory)
        return try run.workspace.stretched(pass.tokens.count, to: pass.capacity) { () throws(DiffError) in
            var h = try run.embedding(embedding, pass.tokens)
            let order = run.blocks(layout.blocks)
            var restricted = pass.wanted.indices.count == pass.tokens.count
            for (position, index) in order.numbered {
                guard let block = blocks.at(index) else { continue }
                let isLast = position == order.count &- 1 && !restricted
                h = try block(h, pass, wanted: isLast ? pass.wanted : nil, run)
                restricted = restricted || isLast
            }
            return restricted ? h : try run.gatherRows(h, pass.wanted.indices)
        }
    }

    /// The final norm of `states` [1, rows, width].
    public func normalised(_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.rmsNorm(states, weight: finalNorm, eps: configuration.eps)
    }

    /// Logits of `states` [1, rows, width]: [1, rows, vocabulary].
    public func logits(_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try head(normalised(states, run), run)
    }
}
