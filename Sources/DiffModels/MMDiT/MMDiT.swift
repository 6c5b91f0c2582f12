public import DiffCheckpoint
public import DiffTensor

/// The multimodal diffusion transformer of Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206), loaded from diffusers' names.
///
/// Predicts the velocity noise - data of a flow at times 0 (data) ... 1000 (noise). Immutable after loading; any number of runs may use
/// one model at once.
public final class MMDiT: ConditionedDenoiser {
    /// The name of its block list: the path of the blocks.
    static let blockList = "transformer_blocks"

    /// Sizes and options.
    public let configuration: MMDiTConfiguration
    /// Sites of the blocks, their attentions and their MLPs, of what comes before them and after, by module path.
    public let layout: SiteLayout
    private let inputSite, normSite, outputSite: Site
    private let projection, context: Linear
    private let positions: CroppedPositions
    private let time: TimestepEmbedding
    private let pooledFirst, pooledSecond: Linear
    private let blocks: [MMDiTBlock]
    private let finalModulation: LastModulation
    private let output: Linear

    /// Loads the network. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ c: MMDiTConfiguration, _ weights: Weights) throws(DiffError) {
        // Every block has tensors of its own; a config that claims more blocks must not make us build them first.
        guard c.depth <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.depth) blocks")
        }
        var layout = SiteLayout(family: "sd3_transformer")
        inputSite = layout.add("pos_embed", .other)
        let (embedders, p) = (weights.scope("time_text_embed"), c.patchSize)
        let patches = weights.scope("pos_embed.proj")
        projection = Linear(
            weight: try patches.packed("weight", [c.width, c.inChannels, p, p]),
            bias: try patches.vector("bias", c.width))
        context = try Linear(weights.scope("context_embedder"), c.textWidth, c.width, of: .tokens)
        time = TimestepEmbedding(
            frequencies: TimeFrequencies(
                half: MMDiTConfiguration.timeFeatures / 2, denominator: Float(MMDiTConfiguration.timeFeatures / 2)),
            first: try Linear(
                embedders.scope("timestep_embedder.linear_1"), MMDiTConfiguration.timeFeatures, c.width, of: .vectors),
            second: try Linear(embedders.scope("timestep_embedder.linear_2"), c.width, c.width, of: .vectors))
        pooledFirst = try Linear(embedders.scope("text_embedder.linear_1"), c.pooledWidth, c.width, of: .vectors)
        pooledSecond = try Linear(embedders.scope("text_embedder.linear_2"), c.width, c.width, of: .vectors)
        var blocks: [MMDiTBlock] = []
        for index in Indices(below: c.depth) { blocks.append(try MMDiTBlock(weights, index, c, &layout)) }
        normSite = layout.add("norm_out", .other)
        finalModulation = try LastModulation(weights.scope("norm_out"), c.width)
        outputSite = layout.add("proj_out", .other)
        output = try Linear(weights.scope("proj_out"), c.width, p &* p &* c.outChannels, of: .tokens)
        let table = weights.scope("pos_embed")
        let isStored = table.has("pos_embed")
        let stored =
            isStored
            ? try CroppedPositions(table, side: c.positionsSide, width: c.width, base: c.side / max(1, p)) : nil
        try weights.finish()
        // After the check of the weights: a config that does not fit its tensors must not make us compute a table.
        positions =
            if let stored { stored } else {
                try CroppedPositions(table, side: c.positionsSide, width: c.width, base: c.side / max(1, p))
            }
        (configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// Channels of the state.
    public var channels: Int { configuration.inChannels }
    /// Channels of the prediction.
    public var predictedChannels: Int { configuration.outChannels }
    /// Side of the square state that it was trained on.
    public var side: Int { configuration.side }
    /// The side of a patch.
    public var sideMultiple: Int { configuration.patchSize }
    /// As far as there are positions.
    public var maxSide: Int? { configuration.positionsSide &* configuration.patchSize }
    /// Width of the text encoders' states.
    public var textWidth: Int { configuration.textWidth }
    /// Width of the vector for the whole prompt.
    public var pooledWidth: Int? { configuration.pooledWidth }
    /// It is told none.
    public var takesSizes: Bool { false }
    /// It is told none.
    public var takesGuidance: Bool { false }

    /// The text as the blocks' stream begins [n, tokens, width], and the embedding of the whole prompt [n, width].
    public func prepare(_ conditioning: Conditioning, _ run: Run) throws(DiffError) -> PreparedConditioning {
        let (states, pooled, c) = (conditioning.states, conditioning.pooled, configuration)
        guard let pooled, states.shape.rank == 3, states.shape.count > 0, states.shape[2] == c.textWidth,
            pooled.shape == (try Shape(states.shape[0], c.pooledWidth))
        else {
            throw DiffError(
                .shape,
                "text of \(states.shape) and \(pooled.map { "\($0.shape)" } ?? "none") for the whole prompt, expected "
                    + "[n, tokens, \(c.textWidth)] and [n, \(c.pooledWidth)]")
        }
        let vector = try pooledSecond(pooledFirst(pooled, run, .silu), run)
        return PreparedConditioning([try context(states, run), vector], samples: states.shape[0])
    }

    /// The velocity [n, predictedChannels, h, w] of `x` [n, channels, h, w] at the times `t` [n], 0 ... 1000.
    public func callAsFunction(
        _ x: Tensor, t: Tensor, _ conditioning: PreparedConditioning, _ run: Run
    ) throws(DiffError) -> Tensor {
        let (c, n, patch) = (configuration, x.shape[0], max(1, configuration.patchSize))
        guard x.shape.rank == 4, x.shape[1] == c.inChannels, x.shape.count > 0, x.shape[2] % patch == 0,
            x.shape[3] % patch == 0, t.shape == (try Shape(n)), conditioning.samples == n,
            var text = conditioning.tensors.at(0), let pooled = conditioning.tensors.at(1)
        else {
            throw DiffError(
                .shape,
                "x \(x.shape), t \(t.shape) and text for \(conditioning.samples); expected x [n, \(c.inChannels), h, w] with "
                    + "sides that are multiples of \(c.patchSize), t [n] and text for n")
        }
        let (rows, columns) = (x.shape[2] / patch, x.shape[3] / patch)
        var h = try run.at(inputSite, x) { () throws(DiffError) in
            try run.addTable(
                projection(run.patchify(x, patch: patch), run), positions(rows: rows, columns: columns, run))
        }
        let vector = try run.activate(run.add(time(t, run), pooled), .silu)
        for index in run.blocks(layout.blocks).each {
            guard let block = blocks.at(index) else { continue }
            let streams = try block(h, text: text, vector, run)
            (h, text) = (streams.first, streams[1] ?? text)
        }
        h = try run.at(normSite, h) { [h] () throws(DiffError) in try finalModulation(h, vector, run) }
        h = try run.at(outputSite, h) { [h] () throws(DiffError) in try output(h, run) }
        return try run.unpatchify(
            h, channels: c.outChannels, gridHeight: rows, gridWidth: columns, patch: patch)
    }
}
