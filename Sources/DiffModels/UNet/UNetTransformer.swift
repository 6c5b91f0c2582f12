import DiffCheckpoint
import DiffTensor

/// A transformer over the pixels of a level: GN, a projection, blocks, a projection, plus the input.
///
/// Source: `Transformer2DModel` of diffusers.
final class UNetTransformer: Sendable {
    let site: Site
    private let norm: GroupNorm
    private let projectionIn, projectionOut: Linear
    private let blocks: [UNetTransformerBlock]
    /// Position of the first block in the network's list.
    private let firstBlock: Int

    /// The transformer of so many blocks over the channels of `level` at the scope of `w`, in the stage `parent`.
    init(
        _ w: Weights, _ level: UNetConfiguration.Level, blocks count: Int, reading source: UNetConfiguration.Source,
        in parent: Site, _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        let (c, channels) = (assembly.configuration, level.channels)
        site = assembly.layout.add(w.path, .stage, in: parent)
        norm = try GroupNorm(w.scope("norm"), channels, groups: c.groups, eps: UNetConfiguration.transformerEps)
        projectionIn = try Self.projection(w.scope("proj_in"), channels)
        projectionOut = try Self.projection(w.scope("proj_out"), channels)
        firstBlock = assembly.layout.blockCount
        var blocks: [UNetTransformerBlock] = []
        for index in Indices(below: count) {
            blocks.append(
                try UNetTransformerBlock(
                    w.scope("transformer_blocks").scope(index: index), channels, heads: level.heads, reading: source,
                    in: site, &assembly))
        }
        self.blocks = blocks
    }

    /// A linear layer, or the 1 x 1 convolution that it is in older checkpoints.
    private static func projection(_ w: Weights, _ channels: Int) throws(DiffError) -> Linear {
        let weight = try w.packed("weight", [channels, channels], orShape: [channels, channels, 1, 1])
        return try Linear(weight: weight, bias: w.vector("bias", channels))
    }

    /// Keys and values of the text that it reads for each block; none when it reads tokens.
    func prepare(_ texts: [Tensor], _ run: Run, into contexts: inout [Tensor]) throws(DiffError) {
        for block in blocks.each {
            try run.checkCancel()
            if let context = try block.prepare(texts, run) { contexts.append(context) }
        }
    }

    func callAsFunction(_ x: Tensor, _ call: UNetCall, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            var h = try projectionIn(run.pixelTokens(norm(x, run)), run)
            for index in call.blocks.each {
                guard let block = blocks.at(index &- firstBlock) else { continue }
                h = try block(h, gridHeight: x.shape[2], gridWidth: x.shape[3], call, run)
            }
            return try run.addTokens(projectionOut(h, run), to: x)
        }
    }
}
