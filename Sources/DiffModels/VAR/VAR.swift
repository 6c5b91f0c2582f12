public import DiffCheckpoint
public import DiffTensor
import Glibc

/// The transformer of visual autoregressive modelling (Tian et al. 2024): it sees the image so far, pooled to the side of the
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
    private let positions: VARPositions
    private let word, head: Linear
    let sharedModulation: VARVectors?
    let headModulation: VARVectors

    /// Loads the network. Throws one error that lists every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: VARConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every block has tensors of its own; a config that claims more blocks must not make us build them first.
        guard c.depth <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.depth) blocks")
        }
        var layout = SiteLayout(family: "var", [.generatesScales, .variesShapes], steps: c.schedule.count)
        classTable = try weights.tensor("class_emb.weight", [c.classes &+ 1, c.width])
        word = try Linear(weights.scope("word_embed"), c.codeChannels, c.width, of: .tokens)
        var blocks: [VARBlock] = []
        for index in Indices(below: c.depth) {
            blocks.append(try VARBlock(weights.scope("blocks.\(index)"), c, &layout))
        }
        sharedModulation =
            c.sharesModulation
            ? try VARVectors(weights.scope("shared_ada_lin.1"), width: c.width, groups: 6) : nil
        headModulation = try VARVectors(weights.scope("head_nm.ada_lin.1"), width: c.width, groups: 2)
        head = try Linear(weights.scope("head"), c.width, c.vocabulary, of: .tokens)
        let positions = try VARPositions(weights, c)
        try weights.markScheduleBuffers(c.schedule)
        try weights.finish()
        self.positions = try positions.prepared()
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// The first token of each row: its class, where it stands. Gives [labels, 1, width]. Throws `invalidArgument` for a label
    /// outside the table.
    public func firstTokens(_ labels: [Int], _ run: Run) throws(DiffError) -> Tensor {
        let rows = try run.embedding(classTable, labels)
        return try run.addTable(rows.reshaped(Shape(labels.count, 1, configuration.width)), positions.first(run))
    }

    /// Tokens from number `position` of the sequence on, out of the codes of the image so far [batch, tokens, codeChannels].
    public func embedded(_ codes: Tensor, at position: Int, _ run: Run) throws(DiffError) -> Tensor {
        let count = codes.shape[1]
        guard codes.shape.rank == 3, codes.shape[2] == configuration.codeChannels, position >= 1 else {
            throw DiffError(
                .shape, "codes \(codes.shape), expected [batch, tokens, \(configuration.codeChannels)] after the first")
        }
        return try run.addTable(word(codes, run), positions.table(position, count, run))
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

    /// Teacher forcing: the logits of the tokens of scale `first` and later ones [batch, tokens, vocabulary], each scale seeing
    /// itself and those before it.
    ///
    /// `codes` [batch, tokens - 1, codeChannels] are what each scale but the first gets to see of the image; they may end after
    /// any scale. Labels are not dropped. Gradients pass to every parameter (the keys' bias is a buffer of zeros, and none). Throws
    /// `shape` when a scale is cut or there is none from `first` on, `invalidArgument` for a label outside the table.
    public func callAsFunction(
        _ codes: Tensor, labels: [Int], from first: Int = 0, _ run: Run
    ) throws(DiffError) -> Tensor {
        let schedule = configuration.schedule
        guard codes.shape.rank == 3, codes.shape[0] == labels.count, first >= 0,
            let scales = schedule.scales(in: codes.shape[1] &+ 1), first < scales
        else {
            throw DiffError(
                .shape,
                "codes \(codes.shape) for \(labels.count) labels; expected [labels, n, "
                    + "\(configuration.codeChannels)] with 1 + n one of \(schedule.offsets.dropFirst())")
        }
        let tokens = codes.shape[1] &+ 1
        let context = VARContext(self, labels: labels, capacity: tokens, remembers: false)
        var x = try firstTokens(labels, run)
        if tokens > 1 { x = try run.joinedTokens(x, embedded(codes, at: 1, run)) }
        let z = try context.advance(x, through: scales, wanting: 0, run)
        let start = schedule.offset(first)
        return try logits(run.tokens(z, start, tokens &- start), context, run)
    }
}

extension Float {
    var logarithm: Float { Glibc.log(self) }
    var exponential: Float { Glibc.exp(self) }
}
