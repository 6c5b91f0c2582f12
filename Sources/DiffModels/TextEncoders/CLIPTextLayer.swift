import DiffCheckpoint
import DiffTensor

/// A layer of CLIP's text tower: attention and an MLP, each after a norm and added to what came in.
final class CLIPTextLayer: Sendable {
    private let site, attentionSite, mlpSite: Site
    private let heads: Int
    private let activation: Activation
    private let norm1, norm2: LayerNorm
    private let qkv, attentionOut, fc1, fc2: Linear

    init(_ w: Weights, _ c: CLIPTextConfiguration, _ layout: inout SiteLayout) throws(DiffError) {
        let (attention, mlp) = (w.scope("self_attn"), w.scope("mlp"))
        site = layout.add(w.path, .block)
        attentionSite = layout.add(attention.path, .attention, in: site)
        mlpSite = layout.add(mlp.path, .mlp, in: site)
        (heads, activation) = (c.heads, c.activation)
        norm1 = try LayerNorm(w.scope("layer_norm1"), c.width, eps: c.eps)
        norm2 = try LayerNorm(w.scope("layer_norm2"), c.width, eps: c.eps)
        qkv = try Linear(attention, fusing: ["q_proj", "k_proj", "v_proj"], c.width)
        attentionOut = try Linear(attention.scope("out_proj"), c.width, c.width, of: .tokens)
        fc1 = try Linear(mlp.scope("fc1"), c.width, c.mlpWidth, of: .tokens)
        fc2 = try Linear(mlp.scope("fc2"), c.mlpWidth, c.width, of: .tokens)
    }

    /// `x` is [texts, tokens, width], and so is the result.
    func callAsFunction(_ x: Tensor, _ causal: DistanceBias, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let attention = try run.at(attentionSite, x) { () throws(DiffError) in
                let call = try AttentionCall(
                    site: attentionSite, qkv: qkv(norm1(x, run), run), heads: heads, distances: causal)
                return try attentionOut(run.attention(call), run)
            }
            let y = try run.add(x, attention)
            let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
                try fc2(fc1(norm2(y, run), run, activation), run)
            }
            return try run.add(y, mlp)
        }
    }
}
