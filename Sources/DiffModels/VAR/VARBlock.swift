import DiffCheckpoint
import DiffTensor

/// One VAR block: two residuals, each norm modulated and each branch gated by the class. Source: `AdaLNSelfAttn` of
/// FoundationVision/VAR.
final class VARBlock: Sendable {
    let site, attentionSite, mlpSite: Site
    private let heads: Int
    private let eps, attentionScale: Float
    /// Nil: heads are not normalised.
    private let queryScales: VARQueryScales?
    private let qkv: VARProjection
    private let projection, fc1, fc2: Linear
    private let modulation: VARModulation

    init(_ w: Weights, _ c: VARConfiguration, _ layout: inout SiteLayout) throws(DiffError) {
        site = layout.add(w.path, .block)
        attentionSite = layout.add("\(w.path).attn", .attention, in: site)
        mlpSite = layout.add("\(w.path).ffn", .mlp, in: site)
        (heads, eps) = (c.heads, c.eps)
        let attention = w.scope("attn")
        qkv = try VARProjection(attention, width: c.width)
        projection = try Linear(attention.scope("proj"), c.width, c.width, of: .tokens)
        fc1 = try Linear(w.scope("ffn.fc1"), c.width, c.mlpWidth, of: .tokens)
        fc2 = try Linear(w.scope("ffn.fc2"), c.mlpWidth, c.width, of: .tokens)
        modulation = try VARModulation(w, c)
        if c.normalisesHeads {
            attentionScale = 1
            queryScales = try VARQueryScales(attention, heads: c.heads)
        } else {
            // The published code divides by 4 in addition.
            attentionScale = 0.25 / Float(c.width / max(1, c.heads)).squareRoot()
            queryScales = nil
        }
    }

    /// The six vectors of the block for each row of `condition` [labels, width] after SiLU: gates, scales, shifts, of attention
    /// and MLP in turn. `shared` is what the shared layer made of it, in models that have one.
    func vectors(_ condition: Tensor, shared: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        try modulation(condition, shared, run)
    }

    /// `x` [rows, tokens, width] are the tokens of `pass`; gives those from the pass's first wanted one on, if this is the last
    /// block that runs, else all.
    func callAsFunction(_ x: Tensor, _ pass: VARPass, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            guard run.startsSegments else { return try layers(x, pass, run) }
            return try run.segment { () throws(DiffError) in try self.layers(x, pass, run) }
        }
    }

    private func layers(_ x: Tensor, _ pass: VARPass, _ run: Run) throws(DiffError) -> Tensor {
        let m = pass.vectors
        let kept = try run.tokens(x, pass.firstOutput, x.shape[1] &- pass.firstOutput)
        let attention = try run.at(attentionSite, x) { () throws(DiffError) in
            let h = try run.normModulate(x, shift: RowVectors(m, 4, of: 6), scale: RowVectors(m, 2, of: 6), eps: eps)
            return try projection(run.attention(call(qkv(h, run), pass, kept.shape[1], run)), run)
        }
        let y = try run.addGated(kept, attention, gate: RowVectors(m, 0, of: 6))
        let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
            let h = try run.normModulate(y, shift: RowVectors(m, 5, of: 6), scale: RowVectors(m, 3, of: 6), eps: eps)
            return try fc2(fc1(h, run, .geluTanh), run)
        }
        return try run.addGated(y, mlp, gate: RowVectors(m, 1, of: 6))
    }

    /// The attention of the pass's last `count` tokens to all so far. In a pass without a buffer all tokens are there at once, and
    /// their projection stays whole.
    private func call(_ qkv: Tensor, _ pass: VARPass, _ count: Int, _ run: Run) throws(DiffError) -> AttentionCall {
        let scales = try queryScales.map { (scales) throws(DiffError) in try scales(run) }
        guard let buffer = try pass.buffer() else {
            let normalised = if let scales { try run.normalisedHeads(qkv, heads: heads, scales: scales) } else { qkv }
            return try AttentionCall(
                site: attentionSite, qkv: normalised, heads: heads, scale: attentionScale, spans: pass.spans)
        }
        let queries = try run.splitHeads(qkv, heads: heads, scales: scales, into: buffer, at: pass.position)
        return try AttentionCall(
            site: attentionSite, queries: run.tokens(queries, pass.firstOutput, count), buffer: buffer, heads: heads,
            scale: attentionScale, spans: pass.spans)
    }
}

/// What a block is told about the tokens it works on.
struct VARPass {
    /// [rows, 6 · width]
    let vectors: Tensor
    /// The block's buffer, made when it is first asked for; nil in teacher forcing, whose passes begin at the first token and want
    /// all outputs.
    let buffer: () throws(DiffError) -> KeyValueBuffer?
    /// Where the tokens stand in the sequence.
    let position: Int
    /// The first of them whose output is wanted.
    let firstOutput: Int
    let spans: [AttentionSpan]
}
