import DiffCheckpoint
import DiffTensor

/// A block of GPT-2: attention and an MLP, each behind a norm and added to what came in.
final class GPT2Block: Sendable {
    private let site, attentionSite, mlpSite: Site
    private let heads: Int
    /// nil: as usual.
    private let scale: Float?
    private let activation: Activation
    private let norm1, norm2: LayerNorm
    private let qkv, attentionOut, first, second: Linear

    init(_ w: Weights, _ c: GPT2Configuration, _ index: Int, _ layout: inout SiteLayout) throws(DiffError) {
        let (attention, mlp) = (w.scope("attn"), w.scope("mlp"))
        site = layout.add(w.path, .block)
        attentionSite = layout.add(attention.path, .attention, in: site)
        mlpSite = layout.add(mlp.path, .mlp, in: site)
        (heads, scale, activation) = (c.heads, c.scale(ofBlock: index), c.activation)
        norm1 = try LayerNorm(w.scope("ln_1"), c.width, eps: c.eps)
        norm2 = try LayerNorm(w.scope("ln_2"), c.width, eps: c.eps)
        qkv = try Self.linear(attention.scope("c_attn"), c.width, 3 &* c.width)
        attentionOut = try Self.linear(attention.scope("c_proj"), c.width, c.width)
        first = try Self.linear(mlp.scope("c_fc"), c.width, c.mlpWidth)
        second = try Self.linear(mlp.scope("c_proj"), c.mlpWidth, c.width)
        // Tables of old files that say which keys come first.
        attention.markUsed(prefix: "bias")
        attention.markUsed(prefix: "masked_bias")
    }

    /// A layer whose weights are stored as [inputs, outputs] (`Conv1D`).
    private static func linear(_ w: Weights, _ inputs: Int, _ outputs: Int) throws(DiffError) -> Linear {
        Linear(
            weight: try w.packed(transposing: "weight", inputs: inputs, outputs: outputs),
            bias: try w.vector("bias", outputs))
    }

    /// `x` is [texts, tokens, width], and so is the result; keys and values of the pass are put into `memory`.
    func callAsFunction(
        _ x: Tensor, _ pass: GPT2Pass, _ memory: KeyValueBuffer, _ run: Run
    ) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let attention = try run.at(attentionSite, x) { () throws(DiffError) in
                let projected = try qkv(norm1(x, run), run)
                let queries = try run.splitHeads(
                    projected, heads: heads, scales: nil, into: memory, at: pass.position)
                return try attentionOut(run.attention(call(projected, queries, pass, memory)), run)
            }
            let y = try run.add(x, attention)
            let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
                try second(first(norm2(y, run), run, activation), run)
            }
            return try run.add(y, mlp)
        }
    }

    private func call(
        _ projected: Tensor, _ queries: Tensor, _ pass: GPT2Pass, _ memory: KeyValueBuffer
    ) throws(DiffError) -> AttentionCall {
        if let causal = pass.causal {
            return try AttentionCall(
                site: attentionSite, qkv: projected, heads: heads, scale: scale, distances: causal)
        }
        // The only query is the last token, which sees all before it.
        let seen = pass.position &+ 1
        return try AttentionCall(
            site: attentionSite, queries: queries, keys: AttentionRows(memory.keys).rows(0, seen),
            values: AttentionRows(memory.values).rows(0, seen), heads: heads, scale: scale, mask: pass.mask)
    }
}

/// What all blocks of one pass share.
struct GPT2Pass {
    /// Where the first token of the pass stands.
    let position: Int
    /// Which tokens are seen at all.
    let mask: KeyMask
    /// Which are seen by which, the mask included; nil: the pass has one token.
    let causal: DistanceBias?
}
