public import DiffCheckpoint
public import DiffTensor
import Glibc

/// The transformer of visual autoregressive modelling (Tian et al. 2024): it sees the picture so far, pooled to the side of the
/// next scale, and predicts all codes of that scale at once. Official state-dict names.
///
/// Immutable after loading; what a run changes is in a ``VARContext``.
public final class VAR: Sendable {
    /// Sizes and options.
    public let configuration: VARConfiguration
    /// Sites of the blocks, their attention and their MLP, by module path.
    public let layout: SiteLayout
    let blocks: [VARBlock]
    private let classTable: Tensor
    /// Level and position vectors [tokens, width]; those of the first token with `pos_start` [1, width].
    private let positions, firstPosition: Tensor
    private let word, head: Linear
    let sharedModulation: Linear?
    let headModulation: Linear

    /// Loads the network. Throws one error that lists every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: VARConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every block has tensors of its own; a config that claims more blocks must not make us build them first.
        guard c.depth <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.depth) blocks")
        }
        var layout = SiteLayout(family: "var")
        layout.shapesVary = true
        classTable = try weights.tensor("class_emb.weight", [c.classes &+ 1, c.width])
        word = try Linear(weights.scope("word_embed"), c.codeChannels, c.width, of: .tokens)
        var blocks: [VARBlock] = []
        for index in Indices(below: c.depth) {
            blocks.append(try VARBlock(weights.scope("blocks.\(index)"), c, &layout))
        }
        sharedModulation =
            c.sharesModulation
            ? try Linear(weights.scope("shared_ada_lin.1"), c.width, 6 &* c.width, of: .vectors) : nil
        headModulation = try Linear(weights.scope("head_nm.ada_lin.1"), c.width, 2 &* c.width, of: .vectors)
        head = try Linear(weights.scope("head"), c.width, c.vocabulary, of: .tokens)
        let tables = try VARPositions(weights, c)
        // Buffers that follow from the schedule.
        for name in ["lvl_1L", "attn_bias_for_masking"] { weights.markUsed(prefix: name) }
        try weights.finish()
        // After the check of the weights: a config that does not fit its tensors must not make us compute tables.
        (positions, firstPosition) = try tables.sums(budget: weights.options.budget)
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// The first token of each row: its class, where it stands. Gives [labels, 1, width]. Throws `invalidArgument` for a label
    /// outside the table.
    public func firstTokens(_ labels: [Int], _ run: Run) throws(DiffError) -> Tensor {
        let rows = try run.embedding(classTable, labels)
        return try run.addTable(rows.reshaped(Shape(labels.count, 1, configuration.width)), firstPosition)
    }

    /// Tokens from number `position` of the sequence on, out of the codes of the picture so far [batch, tokens, codeChannels].
    public func embedded(_ codes: Tensor, at position: Int, _ run: Run) throws(DiffError) -> Tensor {
        let count = codes.shape[1]
        guard codes.shape.rank == 3, codes.shape[2] == configuration.codeChannels, position >= 1 else {
            throw DiffError(
                .shape, "codes \(codes.shape), expected [batch, tokens, \(configuration.codeChannels)] after the first")
        }
        return try run.addTable(word(codes, run), positions.rows(position, count))
    }

    /// Rows `labels` of the class table after SiLU: what modulations are made of.
    func condition(_ labels: [Int], _ run: Run) throws(DiffError) -> Tensor {
        try run.activate(run.embedding(classTable, labels), .silu)
    }

    /// Logits [rows, tokens, vocabulary] of the blocks' output `z` [rows, tokens, width], which are the first rows of `context`.
    public func logits(_ z: Tensor, _ context: VARContext, _ run: Run) throws(DiffError) -> Tensor {
        let m = try context.headVectors(run).rows(0, z.shape[0])
        let h = try run.normModulate(
            z, shift: RowVectors(m, 1, of: 2), scale: RowVectors(m, 0, of: 2), eps: configuration.eps)
        return try head(h, run)
    }

    /// Teacher forcing: the logits of all tokens [batch, tokens, vocabulary], each scale seeing itself and those before it.
    ///
    /// `codes` [batch, tokens - 1, codeChannels] are what each scale but the first gets to see of the picture; they may end after
    /// any scale. Labels are not dropped. Gradients pass through all linear layers and the class table; levels, positions and the
    /// scales of heads stay as they are. Throws `shape` when a scale is cut, `invalidArgument` for a label outside the table.
    public func callAsFunction(_ codes: Tensor, labels: [Int], _ run: Run) throws(DiffError) -> Tensor {
        let schedule = configuration.schedule
        guard codes.shape.rank == 3, codes.shape[0] == labels.count,
            let scales = schedule.scales(in: codes.shape[1] &+ 1)
        else {
            throw DiffError(
                .shape,
                "codes \(codes.shape) for \(labels.count) labels; expected [labels, n, "
                    + "\(configuration.codeChannels)] with 1 + n one of \(schedule.offsets.dropFirst())")
        }
        let tokens = codes.shape[1] &+ 1
        let context = VARContext(self, labels: labels, capacity: tokens)
        var x = try firstTokens(labels, run)
        if tokens > 1 { x = try run.joinedTokens(x, embedded(codes, at: 1, run)) }
        return try logits(context.advance(x, through: scales, wanting: 0, run), context, run)
    }
}

/// Level and position embeddings as the checkpoint has them.
private struct VARPositions {
    let start, absolute, levels: Tensor
    let schedule: ScaleSchedule
    let width: Int

    init(_ w: Weights, _ c: VARConfiguration) throws(DiffError) {
        start = try w.tensor("pos_start", [1, 1, c.width])
        absolute = try w.tensor("pos_1LC", [1, c.schedule.tokens, c.width])
        levels = try w.tensor("lvl_embed.weight", [c.schedule.count, c.width])
        (schedule, width) = (c.schedule, c.width)
    }

    /// level + position for every token, and the first of them with the start's own vector.
    func sums(budget: MemoryBudget?) throws(DiffError) -> (all: Tensor, first: Tensor) {
        let out = try Tensor(uninitialized: Shape(schedule.tokens, width), budget: budget)
        let first = try Tensor(uninitialized: Shape(1, width), budget: budget)
        let (start, absolute) = (try start.widened(budget: nil), try absolute.widened(budget: nil))
        let levels = try levels.widened(budget: nil)
        guard let to = unsafe out.floats, let p = unsafe absolute.floats, let l = unsafe levels.floats,
            let s = unsafe start.floats, let f = unsafe first.floats
        else { return (out, first) }
        for scale in Indices(below: schedule.count) {
            for token in Indices(below: schedule.length(scale)) {
                let at = (schedule.offset(scale) &+ token) &* width
                for i in Indices(below: width) { unsafe to[at &+ i] = l[scale &* width &+ i] + p[at &+ i] }
            }
        }
        for i in Indices(below: width) { unsafe f[i] = s[i] + to[i] }
        return (out, first)
    }
}

extension Float {
    var logarithm: Float { Glibc.log(self) }
    var exponential: Float { Glibc.exp(self) }
}
