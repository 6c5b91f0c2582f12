import DiffCheckpoint
import DiffTensor

/// The layers that a time and a class go through.
struct DiTEmbedderParameters {
    let first, second: Linear
    /// [classRows, width]
    let classTable: Tensor
}

/// What the blocks are told of a time and a class.
struct DiTEmbedder: Sendable {
    let time: TimestepEmbedding
    let classTable: Tensor

    /// Embedders with the time frequencies of `c`.
    init(_ p: DiTEmbedderParameters, _ c: DiTConfiguration) {
        let half = c.timeFeatures / 2
        let denominator = Float(c.conventions == .official ? half : max(1, half &- 1))
        time = TimestepEmbedding(
            frequencies: TimeFrequencies(half: half, denominator: denominator), first: p.first, second: p.second)
        classTable = p.classTable
    }

    /// Times `t` [batch] and classes `y` as a block's modulation takes them, after SiLU: [batch, width].
    func callAsFunction(_ t: Tensor, _ y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        try run.activate(run.add(time(t, run), run.embedding(classTable, y)), .silu)
    }
}

extension DiffusersDiTParameters {
    private static let parts = [
        "timestep_embedder.linear_1.weight", "timestep_embedder.linear_1.bias", "timestep_embedder.linear_2.weight",
        "timestep_embedder.linear_2.bias", "class_embedder.embedding_table.weight",
    ]

    private func embedders(_ block: Int) -> Weights { weights.scope("transformer_blocks.\(block).norm1.emb") }

    /// The embedders of a block.
    func embedder(_ block: Int) throws(DiffError) -> DiTEmbedderParameters {
        let embedders = embedders(block)
        let mlp = embedders.scope("timestep_embedder")
        return DiTEmbedderParameters(
            first: try Linear(mlp.scope("linear_1"), c.timeFeatures, c.width, of: .vectors),
            second: try Linear(mlp.scope("linear_2"), c.width, c.width, of: .vectors),
            classTable: try embedders.tensor("class_embedder.embedding_table.weight", [c.classRows, c.width]))
    }

    /// The block's embedders when they are not those of the first block bit for bit. Conversions of official weights repeat the same
    /// ones in every block; models trained in diffusers have different ones. A block that has none at all, as where a copy left the
    /// repetitions out, shares the first one's; one of which a part is there is incomplete.
    func ownEmbedder(_ block: Int) throws(DiffError) -> DiTEmbedderParameters? {
        let (first, own) = (embedders(0), embedders(block))
        guard block > 0, Self.parts.each.contains(where: own.has) else { return nil }
        for part in Self.parts.each {
            guard try weights.table.holdsSame(first.full(part), own.full(part)) else { return try embedder(block) }
        }
        for part in Self.parts.each { own.markUsed(prefix: part) }
        return nil
    }
}
