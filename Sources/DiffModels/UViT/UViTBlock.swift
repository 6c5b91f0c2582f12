import DiffCheckpoint
import DiffTensor

/// A pre-norm transformer block; an output block first mixes in what its partner among the input blocks gave.
///
/// Source: `Block` of baofff/U-ViT.
final class UViTBlock: Sendable {
    let site, attentionSite, mlpSite: Site
    private let heads, grid, extras: Int
    private let norm1, norm2: LayerNorm
    private let skip: Linear?
    private let qkv, projection, fc1, fc2: Linear

    init(
        _ w: Weights, _ c: UViTConfiguration, name: String, takesSkip: Bool, _ layout: inout SiteLayout
    ) throws(DiffError) {
        site = layout.add(name, .block)
        attentionSite = layout.add("\(name).attn", .attention, in: site)
        mlpSite = layout.add("\(name).mlp", .mlp, in: site)
        (heads, grid, extras) = (c.heads, c.grid, c.extras)
        norm1 = try LayerNorm(w.scope("norm1"), c.width, eps: UViTConfiguration.normEps)
        norm2 = try LayerNorm(w.scope("norm2"), c.width, eps: UViTConfiguration.normEps)
        skip = takesSkip ? try Linear(w.scope("skip_linear"), 2 &* c.width, c.width, of: .tokens) : nil
        let (attention, mlp) = (w.scope("attn"), w.scope("mlp"))
        qkv = try Linear(attention.scope("qkv"), c.width, 3 &* c.width, of: .tokens, bias: c.projectsWithBias)
        projection = try Linear(attention.scope("proj"), c.width, c.width, of: .tokens)
        fc1 = try Linear(mlp.scope("fc1"), c.width, c.mlpWidth, of: .tokens)
        fc2 = try Linear(mlp.scope("fc2"), c.mlpWidth, c.width, of: .tokens)
    }

    /// `x` is [batch, tokens, width], and so is `partner`, the output of the block that a skip connection leads from.
    func callAsFunction(_ x: Tensor, partner: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            guard run.startsSegments else { return try layers(x, partner, run) }
            return try run.segment { () throws(DiffError) in try self.layers(x, partner, run) }
        }
    }

    private func layers(_ x: Tensor, _ partner: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        // Outside of the sites: what a reused sub-layer is added to is of its own call.
        let x = try joined(x, partner, run)
        let attention = try run.at(attentionSite, x) { () throws(DiffError) in
            let call = try AttentionCall(
                site: attentionSite, qkv: qkv(norm1(x, run), run), heads: heads, gridHeight: grid, gridWidth: grid,
                prefix: extras)
            return try projection(run.attention(call), run)
        }
        let y = try run.add(x, attention)
        let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
            try fc2(fc1(norm2(y, run), run, .geluErf), run)
        }
        return try run.add(y, mlp)
    }

    /// The stream first, the skip second, along the features: what `skip_linear` was trained for.
    private func joined(_ x: Tensor, _ partner: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        guard let skip else { return x }
        guard let partner, partner.shape == x.shape else {
            throw DiffError(.incompatible, "a U-ViT's output block runs without the input block that it belongs to")
        }
        let rows = try Shape(x.shape.rows, 1, x.shape.last)
        let pairs = try run.joinedTokens(x.reshaped(rows), partner.reshaped(rows))
        return try skip(pairs.reshaped(x.shape.replacingLast(2 &* x.shape.last)), run)
    }
}
