import DiffCheckpoint
import DiffTensor

/// Self-attention, attention to a text or again to the tokens themselves, feed-forward, each behind a layer norm and added to the stream.
///
/// Source: `BasicTransformerBlock` of diffusers.
final class UNetTransformerBlock: Sendable {
    let site: Site
    private let first, second: UNetAttention
    private let feedForwardSite: Site
    private let norm: LayerNorm
    private let widening, narrowing: Linear

    /// The block of `width` and `heads` at the scope of `w`, in the transformer `parent`.
    init(
        _ w: Weights, _ width: Int, heads: Int, reading source: UNetConfiguration.Source, in parent: Site,
        _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        site = assembly.layout.add(w.path, .block, in: parent, list: "transformer_blocks")
        first = try UNetAttention(w, 1, width, heads: heads, reading: .tokens, in: site, &assembly)
        second = try UNetAttention(w, 2, width, heads: heads, reading: source, in: site, &assembly)
        feedForwardSite = assembly.layout.add(w.full("ff"), .mlp, in: site)
        norm = try LayerNorm(w.scope("norm3"), width, eps: UNetConfiguration.layerNormEps)
        let hidden = 4 &* width  // extents of a config below 2^14
        widening = try Linear(w.scope("ff.net.0.proj"), width, 2 &* hidden, of: .tokens)
        narrowing = try Linear(w.scope("ff.net.2"), hidden, width, of: .tokens)
    }

    /// Keys and values of the text that it reads, [batch, tokens, 2 · width]; nil when it reads none.
    func prepare(_ texts: [Tensor], _ run: Run) throws(DiffError) -> Tensor? { try second.prepare(texts, run) }

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
        let y = try run.add(x, first(x, gridHeight, gridWidth, call, run))
        let z = try run.add(y, second(y, gridHeight, gridWidth, call, run))
        let feedForward = try run.at(feedForwardSite, z) { () throws(DiffError) in
            try narrowing(run.geGLU(widening(norm(z, run), run)), run)
        }
        return try run.add(z, feedForward)
    }
}
