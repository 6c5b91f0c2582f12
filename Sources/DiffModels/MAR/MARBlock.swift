import DiffCheckpoint
import DiffTensor

/// A pre-norm transformer block. Source: `Block` of timm, as LTH14/mar uses it.
final class MARBlock: Sendable {
    let site, attentionSite, mlpSite: Site
    private let heads: Int
    private let norm1, norm2: LayerNorm
    private let qkv, projection, fc1, fc2: Linear

    /// The block `index` of the list `list`.
    @inline(never)
    init(
        _ weights: Weights, _ c: MARConfiguration.Stack, list: String, _ index: Int, _ layout: inout SiteLayout
    ) throws(DiffError) {
        let name = "\(list).\(index)"
        let w = weights.scope(name)
        site = layout.add(name, .block, list: list)
        attentionSite = layout.add("\(name).attn", .attention, in: site)
        mlpSite = layout.add("\(name).mlp", .mlp, in: site)
        heads = c.heads
        norm1 = try LayerNorm(w.scope("norm1"), c.width, eps: MARConfiguration.eps)
        norm2 = try LayerNorm(w.scope("norm2"), c.width, eps: MARConfiguration.eps)
        let (attention, mlp) = (w.scope("attn"), w.scope("mlp"))
        qkv = try Linear(attention.scope("qkv"), c.width, 3 &* c.width, of: .tokens)
        projection = try Linear(attention.scope("proj"), c.width, c.width, of: .tokens)
        fc1 = try Linear(mlp.scope("fc1"), c.width, c.mlpWidth, of: .tokens)
        fc2 = try Linear(mlp.scope("fc2"), c.mlpWidth, c.width, of: .tokens)
    }

    /// `x` is [batch, tokens, width]; gives the first `wanted` tokens of what the block makes of it, nil: all.
    func callAsFunction(_ x: Tensor, wanted: Int? = nil, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            guard run.startsSegments else { return try layers(x, wanted, run) }
            return try run.segment { () throws(DiffError) in try self.layers(x, wanted, run) }
        }
    }

    private func layers(_ x: Tensor, _ wanted: Int?, _ run: Run) throws(DiffError) -> Tensor {
        let kept = if let wanted { try run.tokens(x, 0, wanted) } else { x }
        let attention = try run.at(attentionSite, x) { () throws(DiffError) in
            let call = try AttentionCall(
                site: attentionSite, qkv: qkv(norm1(x, run), run), heads: heads, asking: wanted)
            return try projection(run.attention(call), run)
        }
        let y = try run.add(kept, attention)
        let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
            try fc2(fc1(norm2(y, run), run, .geluErf), run)
        }
        return try run.add(y, mlp)
    }
}
