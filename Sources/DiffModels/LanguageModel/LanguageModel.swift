public import DiffCheckpoint
public import DiffTensor

/// A masked diffusion language model (LLaDA, iLLaDA, Dream): a bidirectional transformer over a canvas of fixed length.
///
/// One function serves plain decoding and every cache: a pass feeds a set of places, writes their keys and values into a full-length
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
        var layout = SiteLayout(family: c.family.rawValue)
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

    /// A memory for canvases of these sizes. Throws memory errors.
    public func memory(_ slots: [KeyValueMemory.Slot], _ run: Run) throws(DiffError) -> KeyValueMemory {
        let c = configuration
        return try KeyValueMemory(
            slots, layers: c.layers, kvHeads: c.kvHeads, headDim: c.headDim, rotaryBase: c.rotaryBase, run)
    }

    /// One pass: stores keys and values of the fed places, gives what the last block makes of the wanted ones, [1, wanted, width].
    ///
    /// A row's bits depend on its sample alone, never on the samples beside it. Throws `invalidArgument` for a token outside the
    /// vocabulary, `cancelled`, memory errors.
    public func states(_ feeding: Feeding, _ memory: KeyValueMemory, _ run: Run) throws(DiffError) -> Tensor {
        let pass = try LanguagePass(feeding, memory)
        return try run.workspace.stretched(feeding.rows, to: pass.capacity) { () throws(DiffError) in
            var h = try run.embedding(embedding, feeding.tokens)
            let order = run.blocks(layout.blocks)
            var restricted = feeding.wanted == feeding.rows
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
