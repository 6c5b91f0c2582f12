public import DiffCheckpoint
public import DiffTensor

/// U-ViT (Bao et al. 2022, arXiv 2209.12152): a transformer over patches, the time and the class as tokens, with long skip
/// connections between its first and its last blocks. Loaded from the published state dicts.
///
/// Immutable after loading; any number of runs may use one model at once.
public final class UViT: Sendable {
    /// Sizes and options.
    public let configuration: UViTConfiguration
    /// Sites of the blocks, their attention and their MLP, by module path: input blocks, the middle one, output blocks. A block at one
    /// end of a skip connection has the one at the other end as its partner.
    public let layout: SiteLayout
    private let positions: Tensor
    private let labels: Tensor?
    private let patch: Linear
    private let time: TimestepEmbedding?
    private let frequencies: TimeFrequencies
    private let blocks: [UViTBlock]
    private let norm: LayerNorm
    private let prediction: Linear
    private let convolution: Convolution?

    /// Loads the network. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: UViTConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Every block has tensors of its own; a config that claims more blocks must not make us build them first.
        guard c.depth <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.blocks) blocks")
        }
        let embedding = weights.scope("patch_embed.proj")
        patch = try Linear(
            weight: embedding.packed("weight", [c.width, c.inChannels, c.patchSize, c.patchSize]),
            bias: embedding.vector("bias", c.width))
        positions = try weights.tensor("pos_embed", [1, c.tokens, c.width]).widened(budget: weights.options.budget)
            .reshaped(Shape(c.tokens, c.width))
        labels = c.classRows > 0 ? try weights.tensor("label_emb.weight", [c.classRows, c.width]) : nil
        // The features are as many as the stream is wide, whatever happens to them then.
        frequencies = TimeFrequencies(half: c.width / 2, denominator: Float(c.width / 2))
        if c.embedsTime {
            let mlp = weights.scope("time_embed")
            time = TimestepEmbedding(
                frequencies: frequencies, first: try Linear(mlp.scope("0"), c.width, 4 &* c.width, of: .vectors),
                second: try Linear(mlp.scope("2"), 4 &* c.width, c.width, of: .vectors))
        } else {
            time = nil
        }
        var layout = SiteLayout(family: "uvit")
        let half = c.depth / 2
        var blocks: [UViTBlock] = []
        for index in Indices(below: c.blocks) {
            let name =
                index < half ? "in_blocks.\(index)" : index == half ? "mid_block" : "out_blocks.\(index &- half &- 1)"
            blocks.append(
                try UViTBlock(
                    weights.scope(name), c, name: name, takesSkip: c.hasSkips && index > half, &layout))
        }
        if c.hasSkips {
            for (index, block) in blocks.numbered where index < half {
                guard let partner = blocks.at(c.depth &- index) else { continue }
                layout.pair(block.site, partner.site)
            }
        }
        norm = try LayerNorm(weights.scope("norm"), c.width, eps: UViTConfiguration.normEps)
        prediction = try Linear(
            weights.scope("decoder_pred"), c.width, c.patchSize &* c.patchSize &* c.inChannels, of: .tokens)
        convolution =
            c.hasFinalConvolution
            ? try Convolution(
                weights.scope("final_layer"), c.inChannels, c.inChannels, kernel: 3,
                window: ConvolutionWindow(padding: 1)) : nil
        try weights.finish()
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// The noise that the network sees in `x` [batch, inChannels, inputSize, inputSize], of the same shape.
    ///
    /// `t` is [batch], 1 ... 1000, fractions allowed; `y` one label per sample, none for an unconditional model.
    public func callAsFunction(_ x: Tensor, t: Tensor, y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        let expected = try Shape(x.shape[0], c.inChannels, c.inputSize, c.inputSize)
        let wanted = c.classRows > 0 ? x.shape[0] : 0
        guard x.shape == expected, t.shape.rank == 1, t.shape[0] == x.shape[0], y.count == wanted else {
            throw DiffError(
                .shape,
                "U-ViT input x \(x.shape), t \(t.shape) and \(y.count) labels; expected x \(expected), t [n], \(wanted) labels"
            )
        }
        var h = try run.addTable(tokens(x, t, y, run), positions)
        let half = c.depth / 2
        var skips = [Tensor?](repeating: nil, count: max(0, half))
        for index in run.blocks(layout.blocks).each {
            guard let block = blocks.at(index) else { continue }
            h = try block(h, partner: index > half ? skips.at(c.depth &- index) ?? nil : nil, run)
            if c.hasSkips, index < half { skips.put(h, at: index) }
            // What was taken serves nothing more.
            if index > half { skips.put(nil, at: c.depth &- index) }
        }
        h = try run.tokens(prediction(norm(h, run), run), c.extras, c.grid &* c.grid)
        h = try run.unpatchify(
            h, channels: c.inChannels, gridHeight: c.grid, gridWidth: c.grid, patch: c.patchSize)
        guard let convolution else { return h }
        return try convolution(h, run)
    }

    /// Label, time and patches as one sequence, before positions: [batch, tokens, width].
    private func tokens(_ x: Tensor, _ t: Tensor, _ y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        let single = try Shape(x.shape[0], 1, c.width)
        var tokens = try run.joinedTokens(timeToken(t, run).reshaped(single), patchTokens(x, run))
        if let labels { tokens = try run.joinedTokens(run.embedding(labels, y).reshaped(single), tokens) }
        return tokens
    }

    /// Patches of `x` through the patch projection: [batch, patches, width].
    public func patchTokens(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try patch(run.patchify(x, patch: configuration.patchSize), run)
    }

    /// Sinusoidal features of `t`, cosines first: [batch, width].
    public func timeFeatures(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.timeFeatures(t, frequencies)
    }

    /// What stands for the time in the sequence: [batch, width].
    public func timeToken(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard let time else { return try timeFeatures(t, run) }
        return try time(t, run)
    }
}
