public import DiffCheckpoint
public import DiffTensor

/// Masked autoregressive generation with continuous tokens (Li et al. 2024, arXiv 2406.11838): an encoder over the tokens that are known, a
/// decoder over all positions, and a small diffusion network that makes each token of what the decoder says about it. Official names.
///
/// Immutable after loading; any number of runs may use one model at once.
public final class MAR: Sendable {
    /// Sizes.
    public let configuration: MARConfiguration
    /// Sites of the blocks of encoder, decoder and head in three lists, with attention and MLP of the first two, by module path.
    public let layout: SiteLayout
    /// What makes tokens.
    public let head: MARHead
    private let tokenProjection, decoderProjection: Linear
    private let tokenNorm, encoderNorm, decoderNorm: LayerNorm
    private let classTable: Tensor
    /// What stands for no class, [1, width]; for an unknown token, [1, width]; positions by rows.
    private let noClass, unknown, encoderPositions, decoderPositions, outputPositions: Tensor
    private let encoderBlocks, decoderBlocks: [MARBlock]

    /// Loads the network. Throws one error that lists every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: MARConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        let blocks = Checked.sum(c.encoder.depth, c.decoder.depth, c.headDepth)
        // Every block has tensors of its own; a config that claims more blocks must not make us build them first.
        guard blocks <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(blocks) blocks")
        }
        let (encoder, decoder) = (c.encoder.width, c.decoder.width)
        var layout = SiteLayout(family: "mar", [.variesShapes])
        tokenProjection = try Linear(weights.scope("z_proj"), c.tokenWidth, encoder, of: .tokens)
        tokenNorm = try LayerNorm(weights.scope("z_proj_ln"), encoder, eps: MARConfiguration.eps)
        classTable = try weights.tensor("class_emb.weight", [c.classes, encoder])
        noClass = try Self.table("fake_latent", [1, encoder], weights)
        encoderPositions = try Self.table("encoder_pos_embed_learned", [1, c.rows, encoder], weights)
        encoderBlocks = try Self.blocks(c.encoder, "encoder_blocks", weights, &layout)
        encoderNorm = try LayerNorm(weights.scope("encoder_norm"), encoder, eps: MARConfiguration.eps)
        decoderProjection = try Linear(weights.scope("decoder_embed"), encoder, decoder, of: .tokens)
        unknown = try Self.table("mask_token", [1, 1, decoder], weights)
        decoderPositions = try Self.table("decoder_pos_embed_learned", [1, c.rows, decoder], weights)
        decoderBlocks = try Self.blocks(c.decoder, "decoder_blocks", weights, &layout)
        decoderNorm = try LayerNorm(weights.scope("decoder_norm"), decoder, eps: MARConfiguration.eps)
        outputPositions = try Self.table("diffusion_pos_embed_learned", [1, c.tokens, decoder], weights)
        head = try MARHead(c, weights.scope("diffloss.net"), &layout)
        try weights.finish()
        (self.configuration, self.layout) = (c, layout)
    }

    /// The tensor `name` as rows in f32.
    private static func table(_ name: String, _ dims: [Int], _ weights: Weights) throws(DiffError) -> Tensor {
        let tensor = try weights.tensor(name, dims).widened(budget: weights.options.budget)
        return try tensor.reshaped(Shape(tensor.shape.rows, tensor.shape.last))
    }

    private static func blocks(
        _ c: MARConfiguration.Stack, _ list: String, _ weights: Weights, _ layout: inout SiteLayout
    ) throws(DiffError) -> [MARBlock] {
        var blocks: [MARBlock] = []
        for index in Indices(below: c.depth) { blocks.append(try MARBlock(weights, c, list: list, index, &layout)) }
        return blocks
    }

    /// What the head is conditioned on for the tokens that `pass` asks about: [rows, wanted, width of the decoder].
    ///
    /// `tokens` is [samples, tokens, tokenWidth], of which the known ones are read. `labels` has a class for each row, or
    /// ``MARConfiguration/nullClass``; there may be several times as many rows as samples, such as twice for guidance: row r is about sample
    /// r % samples.
    public func callAsFunction(
        _ tokens: Tensor, _ pass: MARPass, labels: [Int], _ run: Run
    ) throws(DiffError) -> Tensor {
        try decoder(encoder(tokens, pass, labels: labels, run), pass, run)
    }

    /// The encoder's output [rows, buffer + known, width], the known tokens in order.
    public func encoder(
        _ tokens: Tensor, _ pass: MARPass, labels: [Int], _ run: Run
    ) throws(DiffError) -> Tensor {
        let c = configuration
        guard tokens.shape == (try Shape(pass.samples, c.tokens, c.tokenWidth)), !labels.isEmpty,
            labels.count % max(1, pass.samples) == 0
        else {
            throw DiffError(
                .shape,
                "tokens \(tokens.shape) for \(labels.count) labels, expected [\(pass.samples), \(c.tokens), \(c.tokenWidth)] "
                    + "and as many labels, or a multiple")
        }
        let length = Checked.sum(c.buffer, pass.knownCount)
        // Every pass in the blocks of one that knows all tokens.
        return try run.workspace.stretched(length, to: c.rows) { () throws(DiffError) in
            var h = try encoderInput(tokens, pass, labels, run)
            for index in run.blocks(layout.lists.at(0) ?? layout.blocks).each {
                guard let block = encoderBlocks.at(index) else { continue }
                h = try block(h, run)
            }
            return try encoderNorm(h, run)
        }
    }

    /// Rows of the class, then those of the known tokens, with positions: [rows, buffer + known, width].
    @inline(never)
    private func encoderInput(
        _ tokens: Tensor, _ pass: MARPass, _ labels: [Int], _ run: Run
    ) throws(DiffError) -> Tensor {
        let c = configuration
        let (width, known) = (c.encoder.width, pass.knownCount)
        // What rows are made of: the known tokens of all samples, projected once for all rows about them, the classes, and no class.
        var classes: [Int] = []
        for label in labels.each where label != c.nullClass && !classes.contains(label) { classes.append(label) }
        var source = try noClass.reshaped(Shape(1, 1, width))
        if !classes.isEmpty {
            let rows = try run.embedding(classTable, classes)
            source = try run.joinedTokens(rows.reshaped(Shape(1, classes.count, width)), source)
        }
        let given = pass.samples &* known
        if known > 0 {
            var picked: [Int] = []
            for (sample, positions) in pass.known.numbered {
                for position in positions.each { picked.append(sample &* c.tokens &+ position) }
            }
            let rows = try run.embedding(tokens.reshaped(Shape(tokens.shape.rows, c.tokenWidth)), picked)
            source = try run.joinedTokens(
                tokenProjection(rows.reshaped(Shape(1, given, c.tokenWidth)), run), source)
        }
        var (rows, positions): ([Int], [Int]) = ([], [])
        for (row, label) in labels.numbered {
            let sample = row % max(1, pass.samples)
            let condition = given &+ (classes.firstIndex(of: label) ?? classes.count)
            for index in Indices(below: c.buffer) {
                rows.append(condition)
                positions.append(index)
            }
            for (index, position) in (pass.known.at(sample) ?? []).numbered {
                rows.append(sample &* known &+ index)
                positions.append(c.buffer &+ position)
            }
        }
        let shape = try Shape(labels.count, Checked.sum(c.buffer, known), width)
        let x = try run.embedding(source.reshaped(Shape(source.shape.rows, width)), rows)
        let placed = try run.add(x, run.embedding(encoderPositions, positions))
        return try tokenNorm(placed.reshaped(shape), run)
    }

    /// What the decoder makes of the encoder's output `x` [rows, buffer + known, width]: [rows, wanted, width of the decoder], with the positions
    /// that the head is told.
    public func decoder(_ x: Tensor, _ pass: MARPass, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        guard x.shape == (try Shape(x.shape[0], Checked.sum(c.buffer, pass.knownCount), c.encoder.width)),
            x.shape[0] % max(1, pass.samples) == 0
        else { throw DiffError(.shape, "the encoder's output is \(x.shape) for \(pass.samples) samples") }
        // Tokens that are asked about come first, as attention minds no order: the last block then computes no others. Where outputs may be kept for
        // later calls, each has its own place.
        let comesFirst = pass.wanted != nil && !run.mayKeepOutputs && run.tape == nil
        let order = MARDecoderOrder(pass, c, rows: x.shape[0], wantedFirst: comesFirst)
        var h = try decoderInput(x, pass, order, run)
        let indices = run.blocks(layout.lists.at(1) ?? layout.blocks)
        for (turn, index) in indices.numbered {
            guard let block = decoderBlocks.at(index) else { continue }
            guard comesFirst, turn == indices.count &- 1, let wanted = pass.wantedCount else {
                h = try block(h, run)
                continue
            }
            return try run.workspace.stretched(wanted, to: pass.mostWanted) { () throws(DiffError) in
                try placed(block(h, wanted: wanted, run), order, run)
            }
        }
        return try run.workspace.stretched(order.wanted, to: pass.mostWanted) { () throws(DiffError) in
            let rows = try run.embedding(h.reshaped(Shape(h.shape.rows, c.decoder.width)), order.outputs)
            return try placed(rows.reshaped(Shape(x.shape[0], order.wanted, c.decoder.width)), order, run)
        }
    }

    @inline(never)
    private func decoderInput(
        _ x: Tensor, _ pass: MARPass, _ order: MARDecoderOrder, _ run: Run
    ) throws(DiffError) -> Tensor {
        let c = configuration
        let width = c.decoder.width
        let source = try run.workspace.stretched(x.shape[1], to: c.rows) { () throws(DiffError) in
            let rows = try decoderProjection(x, run).reshaped(Shape(1, x.shape.rows, width))
            return try run.joinedTokens(rows, unknown.reshaped(Shape(1, 1, width)))
        }
        let h = try run.embedding(source.reshaped(Shape(source.shape[1], width)), order.rows)
        let placed = try run.add(h, run.embedding(decoderPositions, order.positions))
        return try placed.reshaped(Shape(x.shape[0], c.rows, width))
    }

    /// The norm and the head's positions of `h` [rows, wanted, width].
    private func placed(_ h: Tensor, _ order: MARDecoderOrder, _ run: Run) throws(DiffError) -> Tensor {
        let positions = try run.embedding(outputPositions, order.tokens)
        return try run.add(decoderNorm(h, run), positions.reshaped(h.shape))
    }
}
