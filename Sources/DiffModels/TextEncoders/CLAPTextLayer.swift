import DiffCheckpoint
import DiffTensor

/// A layer of CLAP's text tower: attention and an MLP, each added to what came in and a norm behind the sum (RoBERTa).
final class CLAPTextLayer: Sendable {
    private let site, attentionSite, mlpSite: Site
    private let heads: Int
    private let activation: Activation
    private let norm1, norm2: LayerNorm
    private let qkv, attentionOut, first, second: Linear

    init(_ w: Weights, _ c: CLAPTextConfiguration, _ layout: inout SiteLayout) throws(DiffError) {
        let (attention, mlp) = (w.scope("attention"), w.scope("intermediate"))
        site = layout.add(w.path, .block)
        attentionSite = layout.add(attention.path, .attention, in: site)
        mlpSite = layout.add(mlp.path, .mlp, in: site)
        (heads, activation) = (c.heads, c.activation)
        norm1 = try LayerNorm(attention.scope("output.LayerNorm"), c.width, eps: c.eps)
        norm2 = try LayerNorm(w.scope("output.LayerNorm"), c.width, eps: c.eps)
        qkv = try Linear(attention.scope("self"), fusing: ["query", "key", "value"], c.width)
        attentionOut = try Linear(attention.scope("output.dense"), c.width, c.width, of: .tokens)
        first = try Linear(mlp.scope("dense"), c.width, c.mlpWidth, of: .tokens)
        second = try Linear(w.scope("output.dense"), c.mlpWidth, c.width, of: .tokens)
    }

    /// `x` is [texts, tokens, width], and so is the result; `mask` says which tokens are seen (nil: all).
    func callAsFunction(_ x: Tensor, _ mask: KeyMask?, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let attention = try run.at(attentionSite, x) { () throws(DiffError) in
                var call = try AttentionCall(site: attentionSite, qkv: qkv(x, run), heads: heads)
                if let mask { call.pattern = .masked(mask) }
                return try attentionOut(run.attention(call), run)
            }
            let y = try norm1(run.add(attention, x), run)
            let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
                try second(first(y, run, activation), run)
            }
            return try norm2(run.add(mlp, y), run)
        }
    }
}
