import DiffCheckpoint
import DiffTensor

/// Where a family's checkpoints keep what; names of one block are relative to it.
struct LanguageNames: Sendable {
    let embedding, blocks, finalNorm, head: String
    let attentionNorm, queries, keys, values, attentionOut, mlpNorm, gate, up, down: String

    init(
        embedding: String, blocks: String, finalNorm: String, head: String, attentionNorm: String, queries: String,
        keys: String, values: String, attentionOut: String, mlpNorm: String, gate: String, up: String, down: String
    ) {
        (self.embedding, self.blocks, self.finalNorm, self.head) = (embedding, blocks, finalNorm, head)
        (self.attentionNorm, self.queries, self.keys, self.values) = (attentionNorm, queries, keys, values)
        (self.attentionOut, self.mlpNorm, self.gate, self.up, self.down) = (attentionOut, mlpNorm, gate, up, down)
    }
}

/// The weights of one block: projections of one input are computed as one.
final class LanguageBlockParameters: Sendable {
    let attentionNorm, mlpNorm: Tensor
    /// [heads · headDim, width]; [2 kvHeads · headDim, width], keys first; [width, heads · headDim]
    let queries, keysValues, attentionOut: Linear
    /// [2 mlpWidth, width], gates first; [width, mlpWidth]
    let gateUp, down: Linear

    init(_ w: Weights, _ names: LanguageNames, _ c: LanguageConfiguration) throws(DiffError) {
        let (queryWidth, kvWidth) = (c.heads &* c.headDim, c.kvHeads &* c.headDim)
        attentionNorm = try w.vector("\(names.attentionNorm).weight", c.width)
        mlpNorm = try w.vector("\(names.mlpNorm).weight", c.width)
        let bias = c.hasProjectionBias
        queries = Linear(
            weight: try w.packed("\(names.queries).weight", [queryWidth, c.width]),
            bias: bias ? try w.vector("\(names.queries).bias", queryWidth) : nil)
        let parts = [names.keys, names.values]
        keysValues = Linear(
            weight: try w.packed(concatenating: parts.map { "\($0).weight" }, [kvWidth, c.width]),
            bias: bias ? try w.concatenatedVectors(parts.map { "\($0).bias" }, kvWidth) : nil)
        attentionOut = Linear(
            weight: try w.packed("\(names.attentionOut).weight", [c.width, queryWidth]), bias: nil)
        gateUp = Linear(
            weight: try w.packed(
                concatenating: ["\(names.gate).weight", "\(names.up).weight"], [c.mlpWidth, c.width]), bias: nil)
        down = Linear(weight: try w.packed("\(names.down).weight", [c.width, c.mlpWidth]), bias: nil)
    }
}
