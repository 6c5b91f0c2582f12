import DiffCheckpoint
import DiffTensor

/// Self-attention, attention to the text, feed-forward, each behind a layer norm and added to the stream.
///
/// Source: `BasicTransformerBlock` of diffusers.
final class UNetTransformerBlock: Sendable {
    let site, selfSite, crossSite, feedForwardSite: Site
    private let heads, context: Int
    private let norm1, norm2, norm3: LayerNorm
    private let qkv, selfOutput, queries, keysAndValues, crossOutput, first, second: Linear

    /// The block of `width` and `heads` at the scope of `w`, in the transformer `parent`.
    init(
        _ w: Weights, _ width: Int, heads: Int, in parent: Site, _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        let (eps, text) = (UNetConfiguration.layerNormEps, assembly.configuration.textWidth)
        site = assembly.layout.add(w.path, .block, in: parent, list: "transformer_blocks")
        selfSite = assembly.layout.add(w.full("attn1"), .attention, in: site)
        crossSite = assembly.layout.add(w.full("attn2"), .attention, in: site)
        feedForwardSite = assembly.layout.add(w.full("ff"), .mlp, in: site)
        (self.heads, context) = (heads, assembly.addContext())
        norm1 = try LayerNorm(w.scope("norm1"), width, eps: eps)
        norm2 = try LayerNorm(w.scope("norm2"), width, eps: eps)
        norm3 = try LayerNorm(w.scope("norm3"), width, eps: eps)
        let (own, other) = (w.scope("attn1"), w.scope("attn2"))
        qkv = try Self.fused(own, ["to_q", "to_k", "to_v"], or: "to_qkv", width, width)
        selfOutput = try Linear(own.scope("to_out.0"), width, width, of: .tokens)
        queries = try Linear(other.scope("to_q"), width, width, of: .tokens, bias: false)
        keysAndValues = try Self.fused(other, ["to_k", "to_v"], or: "to_kv", text, width)
        crossOutput = try Linear(other.scope("to_out.0"), width, width, of: .tokens)
        let hidden = 4 &* width  // extents of a config below 2^14
        first = try Linear(w.scope("ff.net.0.proj"), width, 2 &* hidden, of: .tokens)
        second = try Linear(w.scope("ff.net.2"), hidden, width, of: .tokens)
    }

    /// Projections without bias as one layer: that of the checkpoint when it has it (diffusers' `fuse_qkv_projections`, which keeps
    /// the parts too), else its parts.
    private static func fused(
        _ w: Weights, _ parts: [String], or whole: String, _ inputs: Int, _ outputs: Int
    ) throws(DiffError) -> Linear {
        guard w.has("\(whole).weight") else {
            let names = parts.each.map { "\($0).weight" }
            return Linear(weight: try w.packed(concatenating: names, [outputs, inputs]), bias: nil)
        }
        for part in parts.each { w.markUsed(prefix: "\(part).") }
        return try Linear(w.scope(whole), inputs, parts.count &* outputs, of: .tokens, bias: false)
    }

    /// Keys and values of the text [batch, tokens, textWidth]: [batch, tokens, 2 · width].
    func prepare(_ text: Tensor, _ run: Run) throws(DiffError) -> Tensor { try keysAndValues(text, run) }

    /// `x` is [batch, gridHeight gridWidth, width].
    func callAsFunction(
        _ x: Tensor, gridHeight: Int, gridWidth: Int, _ call: UNetCall, _ run: Run
    ) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            guard run.startsSegments else { return try layers(x, gridHeight, gridWidth, call, run) }
            return try run.segment { () throws(DiffError) in try self.layers(x, gridHeight, gridWidth, call, run) }
        }
    }

    private func layers(
        _ x: Tensor, _ gridHeight: Int, _ gridWidth: Int, _ call: UNetCall, _ run: Run
    ) throws(DiffError) -> Tensor {
        let own = try run.at(selfSite, x) { () throws(DiffError) in
            let attention = try AttentionCall(
                site: selfSite, qkv: qkv(norm1(x, run), run), heads: heads, gridHeight: gridHeight,
                gridWidth: gridWidth)
            return try selfOutput(run.attention(attention), run)
        }
        let y = try run.add(x, own)
        let cross = try run.at(crossSite, y) { () throws(DiffError) in
            guard let text = call.contexts.at(context) else {
                throw DiffError(.internal, "no keys and values for attention \(context)")
            }
            let attention = try AttentionCall(
                site: crossSite, queries: queries(norm2(y, run), run), keys: AttentionRows(text, part: 0, of: 2),
                values: AttentionRows(text, part: 1, of: 2), heads: heads, gridHeight: gridHeight,
                gridWidth: gridWidth)
            return try crossOutput(run.attention(attention), run)
        }
        let z = try run.add(y, cross)
        let feedForward = try run.at(feedForwardSite, z) { () throws(DiffError) in
            try second(run.geGLU(first(norm3(z, run), run)), run)
        }
        return try run.add(z, feedForward)
    }
}
