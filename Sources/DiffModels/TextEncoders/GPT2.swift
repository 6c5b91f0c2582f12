public import DiffCheckpoint
public import DiffTensor

/// GPT-2 (Radford et al. 2019) over vectors in place of tokens: it continues a sequence by its own last states. Loaded from `GPT2Model` and
/// `GPT2LMHeadModel` of transformers.
///
/// Immutable after loading; any number of runs may use one model at once. A sequence's bits do not depend on the others of its batch.
public final class GPT2: Sendable {
    /// Sizes and options.
    public let configuration: GPT2Configuration
    /// Sites of the blocks, their attention and their MLP, by module path.
    public let layout: SiteLayout
    private let positions: Tensor
    private let blocks: [GPT2Block]
    private let finalNorm: LayerNorm

    /// Loads the model; tables of tokens are left out. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: GPT2Configuration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every block has tensors of its own; a config that claims more of them must not make us build them first.
        guard c.layers <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.layers) blocks")
        }
        // A model with a head has an outer scope for the rest.
        let model = weights.has("wpe.weight") ? weights : weights.scope("transformer")
        positions = try model.tensor("wpe.weight", [c.positions, c.width]).widened(budget: weights.options.budget)
        var layout = SiteLayout(family: "gpt2")
        var blocks: [GPT2Block] = []
        for index in Indices(below: c.layers) {
            blocks.append(try GPT2Block(model.scope("h").scope(index: index), c, index, &layout))
        }
        finalNorm = try LayerNorm(model.scope("ln_f"), c.width, eps: c.eps)
        model.markUsed(prefix: "wte.")
        weights.markUsed(prefix: "lm_head.")
        try weights.finish()
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// Width of the vectors.
    public var width: Int { configuration.width }

    /// The states [n, length, width] of `sequence` [n, length, width] after the final norm. `mask` says which vectors are seen, row by row;
    /// positions are counted whether they are seen or not. Throws as ``continued(_:mask:by:_:)`` does.
    public func callAsFunction(
        _ sequence: Tensor, mask: [[Bool]], _ run: Run
    ) throws(DiffError) -> Tensor {
        try check(sequence, mask, 1)
        return try pass(sequence, at: 0, mask, memory(sequence, 1, run), run)
    }

    /// The `count` vectors [n, count, width] that continue `sequence` [n, length, width]: each is the last state of what is before it.
    ///
    /// Nothing is drawn. Keys and values are kept, so that a vector takes one row of work. Throws `shape` for other widths, a mask of other
    /// sizes or more vectors than there are positions, `invalidArgument` for a mask that hides a whole row, `cancelled`, memory errors.
    public func continued(
        _ sequence: Tensor, mask: [[Bool]], by count: Int, _ run: Run
    ) throws(DiffError) -> Tensor {
        try check(sequence, mask, count)
        let (samples, length) = (sequence.shape[0], sequence.shape[1])
        let memory = try memory(sequence, count, run)
        let made = try run.workspace.take(Shape(samples, count, width))
        var (x, seen) = (sequence, mask)
        for step in Indices(below: count) {
            let states = try pass(x, at: step == 0 ? 0 : length &+ step &- 1, seen, memory, run)
            x = try run.tokens(states, states.shape[1] &- 1, 1)
            try run.storeTokens(x, in: made, at: step)
            for row in Indices(below: seen.count) { seen.update(at: row) { $0.append(true) } }
            try run.checkCancel()
        }
        return made
    }

    private func check(_ sequence: Tensor, _ mask: [[Bool]], _ count: Int) throws(DiffError) {
        guard sequence.shape.rank == 3, sequence.shape.last == width, sequence.shape.count > 0, count > 0 else {
            throw DiffError(
                .shape, "a sequence \(sequence.shape) to continue by \(count), expected [n, length, \(width)]")
        }
        let length = sequence.shape[1]
        guard mask.count == sequence.shape[0], mask.each.allSatisfy({ $0.count == length }) else {
            throw DiffError(.shape, "a mask of \(mask.count) rows for sequences \(sequence.shape)")
        }
        guard Checked.sum(length, count) <= configuration.positions else {
            throw DiffError(
                .shape,
                "a sequence of \(length) vectors and \(count) more; the language model has \(configuration.positions) positions: take a shorter text"
            )
        }
    }

    /// Room for keys and values of a sequence and of all but the last of `count` more.
    private func memory(_ sequence: Tensor, _ count: Int, _ run: Run) throws(DiffError) -> [KeyValueBuffer] {
        var memory: [KeyValueBuffer] = []
        for _ in blocks.each {
            memory.append(
                try KeyValueBuffer(
                    batch: sequence.shape[0], capacity: sequence.shape[1] &+ count &- 1, width: width, run))
        }
        return memory
    }

    /// The states of the tokens `x` that stand from `position` on, those before them being in `memory`.
    private func pass(
        _ x: Tensor, at position: Int, _ seen: [[Bool]], _ memory: [KeyValueBuffer], _ run: Run
    ) throws(DiffError) -> Tensor {
        let length = x.shape[1]
        let mask = try KeyMask.hiding(seen, run)
        let causal =
            length > 1 ? DistanceBias(try DistanceBias.causal(length, run).values, mask: mask) : nil
        let pass = GPT2Pass(position: position, mask: mask, causal: causal)
        var h = try run.addTable(x, positions.rows(position, length))
        for (index, block) in blocks.numbered {
            guard let own = memory.at(index) else { throw DiffError(.internal, "no memory for block \(index)") }
            h = try block(h, pass, own, run)
        }
        return try finalNorm(h, run)
    }
}
