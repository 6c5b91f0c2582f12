public import DiffCheckpoint
public import DiffTensor

/// Class-conditional diffusion transformer (Peebles & Xie 2023), loaded from the official or the diffusers layout.
///
/// Immutable after loading; any number of runs may use one model at once.
public final class DiT: Sendable {
    /// Sizes and conventions.
    public let configuration: DiTConfiguration
    /// Sites of the blocks, their attention and their MLP, by module path.
    public let layout: SiteLayout
    private let positions: Tensor
    private let patch: Linear
    private let embedder: DiTEmbedder
    /// By block; nil where a block shares the network's.
    private let ownEmbedders: [DiTEmbedder?]
    private let blocks: [DiTBlock]
    private let finalModulation, finalProjection: Linear

    /// Loads the network, of `family` in its layout. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: DiTConfiguration, _ weights: Weights, family: String = "dit") throws(DiffError) {
        var c = configuration
        // Every block has tensors of its own; a config that claims more blocks must not make us build them first.
        guard c.depth <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.depth) blocks")
        }
        let parameters: any DiTParameters =
            switch c.naming {
            case .official: OfficialDiTParameters(weights: weights, c: c)
            case .diffusers: DiffusersDiTParameters(weights: weights, c: c)
            }
        patch = try parameters.patch
        let storedPositions = try parameters.positions
        let network = try parameters.embedder
        var own: [DiTEmbedderParameters?] = []
        for index in Indices(below: c.depth) { own.append(try parameters.ownEmbedder(index)) }
        if own.contains(where: { $0 != nil }) { c.foundOwnEmbedders() }
        let settled = c
        embedder = DiTEmbedder(network, settled)
        ownEmbedders = own.map { $0.map { DiTEmbedder($0, settled) } }
        var layout = SiteLayout(family: family)
        var blocks: [DiTBlock] = []
        for index in Indices(below: c.depth) {
            blocks.append(try DiTBlock(parameters.block(index), c, &layout))
        }
        finalModulation = try parameters.finalModulation
        finalProjection = try parameters.finalProjection
        try weights.finish()
        // After the check of the weights: a config that does not fit its tensors must not make us compute a table.
        if let storedPositions {
            positions = storedPositions
        } else {
            positions = try sinCosPositions(width: c.width, grid: c.grid, budget: weights.options.budget)
        }
        (self.configuration, self.layout, self.blocks) = (c, layout, blocks)
    }

    /// The network's raw output: epsilon, then the variance channels when it learns them.
    ///
    /// `x` is [batch, inChannels, inputSize, inputSize], `t` [batch] original timesteps (0...999; fractions allowed), `y`
    /// one class index per sample. Gives [batch, outChannels, inputSize, inputSize].
    public func callAsFunction(_ x: Tensor, t: Tensor, y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        try check(x, t, y)
        var (h, conditioning) = try started(x, t, y, run)
        for index in run.blocks(layout.blocks).each {
            guard let block = blocks.at(index) else { continue }
            h = try block(h, ownConditioning(index, t, y, run) ?? conditioning, run)
        }
        return try finished(h, conditioning, run)
    }

    // What comes before and after the blocks is not inlined: the frame that these are called from stays small, for threads of small stacks.

    @inline(never)
    private func check(_ x: Tensor, _ t: Tensor, _ y: [Int]) throws(DiffError) {
        let c = configuration
        let expected = try Shape(x.shape[0], c.inChannels, c.inputSize, c.inputSize)
        guard x.shape == expected, t.shape.rank == 1, t.shape[0] == y.count, y.count == x.shape[0] else {
            throw DiffError(
                .shape,
                "DiT input x \(x.shape), t \(t.shape) and \(y.count) labels; expected x \(expected), t [n], n labels"
            )
        }
    }

    /// The stream before the first block, and what all blocks are conditioned on.
    @inline(never)
    private func started(
        _ x: Tensor, _ t: Tensor, _ y: [Int], _ run: Run
    ) throws(DiffError) -> (h: Tensor, conditioning: Tensor) {
        (try run.addTable(patchTokens(x, run), positions), try embedder(t, y, run))
    }

    /// What the block `index` is conditioned on, where it has an embedder of its own.
    @inline(never)
    private func ownConditioning(_ index: Int, _ t: Tensor, _ y: [Int], _ run: Run) throws(DiffError) -> Tensor? {
        guard let own = ownEmbedders.at(index) ?? nil else { return nil }
        return try own(t, y, run)
    }

    @inline(never)
    private func finished(_ h: Tensor, _ conditioning: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let c = configuration
        let m = try finalModulation(conditioning, run)
        let h = try run.normModulate(h, shift: RowVectors(m, 0, of: 2), scale: RowVectors(m, 1, of: 2), eps: 1e-6)
        return try run.unpatchify(
            finalProjection(h, run), channels: c.outChannels, gridHeight: c.grid, gridWidth: c.grid, patch: c.patchSize)
    }

    /// Patches of `x` through the patch projection, before positions: [batch, tokens, width].
    public func patchTokens(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try patch(run.patchify(x, patch: configuration.patchSize), run)
    }

    /// Sinusoidal features of `t`: [batch, timeFeatures], cosines first.
    public func timeFeatures(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor { try embedder.time.features(t, run) }

    /// The time network's output: [batch, width].
    public func timeEmbedding(_ t: Tensor, _ run: Run) throws(DiffError) -> Tensor { try embedder.time(t, run) }

    /// Rows `y` of the class table: [batch, width]. Throws `invalidArgument` for a label outside the table.
    public func classEmbedding(_ y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        try run.embedding(embedder.classTable, y)
    }

    /// Whether blocks have embedders of their own, as after training in diffusers.
    public var hasOwnEmbedders: Bool { ownEmbedders.contains { $0 != nil } }
}
