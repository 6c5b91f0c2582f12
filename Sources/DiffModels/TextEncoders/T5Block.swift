import DiffCheckpoint
import DiffTensor

/// A block of T5's encoder: attention and an MLP, each after a norm and added to what came in. No layer has a bias.
final class T5Block: Sendable {
    private let site, attentionSite, mlpSite: Site
    private let heads: Int
    private let eps: Float
    private let activation: Activation
    private let isGated: Bool
    private let norm1, norm2: Tensor
    /// `input` has the gate in front where there is one.
    private let qkv, attentionOut, input, output: Linear

    init(_ w: Weights, _ c: T5Configuration, _ layout: inout SiteLayout) throws(DiffError) {
        let (first, second) = (w.scope("layer.0"), w.scope("layer.1"))
        let (attention, mlp) = (first.scope("SelfAttention"), second.scope("DenseReluDense"))
        site = layout.add(w.path, .block)
        attentionSite = layout.add(attention.path, .attention, in: site)
        mlpSite = layout.add(mlp.path, .mlp, in: site)
        (heads, eps, activation, isGated) = (c.heads, c.eps, c.activation, c.isGated)
        norm1 = try first.vector("layer_norm.weight", c.width)
        norm2 = try second.vector("layer_norm.weight", c.width)
        let inner = c.heads &* c.headDim
        qkv = Linear(
            weight: try attention.packed(
                concatenating: ["q.weight", "k.weight", "v.weight"], [inner, c.width]), bias: nil)
        attentionOut = Linear(weight: try attention.packed("o.weight", [c.width, inner]), bias: nil)
        let names = c.isGated ? ["wi_0.weight", "wi_1.weight"] : ["wi.weight"]
        input = Linear(weight: try mlp.packed(concatenating: names, [c.mlpWidth, c.width]), bias: nil)
        output = Linear(weight: try mlp.packed("wo.weight", [c.width, c.mlpWidth]), bias: nil)
    }

    /// `x` is [texts, tokens, width], and so is the result.
    func callAsFunction(_ x: Tensor, _ distances: DistanceBias, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let attention = try run.at(attentionSite, x) { () throws(DiffError) in
                // The products are not scaled: the weights were initialised to make up for it.
                let call = try AttentionCall(
                    site: attentionSite, qkv: qkv(run.rmsNorm(x, weight: norm1, eps: eps), run), heads: heads, scale: 1,
                    distances: distances)
                return try attentionOut(run.attention(call), run)
            }
            let y = try run.add(x, attention)
            let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
                let n = try run.rmsNorm(y, weight: norm2, eps: eps)
                let hidden = isGated ? try run.gated(input(n, run), activation) : try input(n, run, activation)
                return try output(hidden, run)
            }
            return try run.add(y, mlp)
        }
    }
}
