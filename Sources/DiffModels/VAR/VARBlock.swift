import DiffCheckpoint
import DiffTensor

/// One VAR block: two residuals, each norm modulated and each branch gated by the class. Source: `AdaLNSelfAttn` of
/// FoundationVision/VAR.
final class VARBlock: Sendable {
    let site, attentionSite, mlpSite: Site
    private let heads: Int
    private let eps, attentionScale: Float
    /// exp(min(stored, ln 100)) per head; nil: heads are not normalised.
    private let queryScales: Tensor?
    private let qkv, projection, fc1, fc2: Linear
    private let modulation: VARModulation

    init(_ w: Weights, _ c: VARConfiguration, _ layout: inout SiteLayout) throws(DiffError) {
        site = layout.add(w.path, .block)
        attentionSite = layout.add("\(w.path).attn", .attention, in: site)
        mlpSite = layout.add("\(w.path).ffn", .mlp, in: site)
        (heads, eps) = (c.heads, c.eps)
        let attention = w.scope("attn")
        qkv = Linear(
            weight: try attention.packed("mat_qkv.weight", [3 &* c.width, c.width]),
            bias: try attention.concatenatedVectors(["q_bias", "zero_k_bias", "v_bias"], c.width))
        projection = try Linear(attention.scope("proj"), c.width, c.width, of: .tokens)
        fc1 = try Linear(w.scope("ffn.fc1"), c.width, c.mlpWidth, of: .tokens)
        fc2 = try Linear(w.scope("ffn.fc2"), c.mlpWidth, c.width, of: .tokens)
        modulation = try VARModulation(w, c)
        if c.normalisesHeads {
            attentionScale = 1
            queryScales = try attention.tensor("scale_mul_1H11", [1, c.heads, 1, 1]).clampedExponentials(
                limit: 100, budget: w.options.budget)
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

    /// The attention of the pass's last `count` tokens to all so far. While something is learned no cache is kept: all tokens are
    /// there at once, and their projection stays whole.
    private func call(_ qkv: Tensor, _ pass: VARPass, _ count: Int, _ run: Run) throws(DiffError) -> AttentionCall {
        if run.tape != nil, pass.position == 0, pass.firstOutput == 0 {
            let normalised =
                if let queryScales { try run.normalisedHeads(qkv, heads: heads, scales: queryScales) } else { qkv }
            return try AttentionCall(
                site: attentionSite, qkv: normalised, heads: heads, scale: attentionScale, spans: pass.spans)
        }
        let cache = try pass.cache()
        let queries = try run.splitHeads(qkv, heads: heads, scales: queryScales, into: cache, at: pass.position)
        return try AttentionCall(
            site: attentionSite, queries: run.tokens(queries, pass.firstOutput, count), cache: cache, heads: heads,
            scale: attentionScale, spans: pass.spans)
    }
}

/// What a block is told about the tokens it works on.
struct VARPass {
    /// [rows, 6 · width]
    let vectors: Tensor
    /// The block's cache, made when it is first asked for.
    let cache: () throws(DiffError) -> KeyValueCache
    /// Where the tokens stand in the sequence.
    let position: Int
    /// The first of them whose output is wanted.
    let firstOutput: Int
    let spans: [AttentionSpan]
}

/// Where a block's six vectors come from.
private enum VARModulation: Sendable {
    /// A layer of the block's own.
    case own(Linear)
    /// One layer of the network, plus vectors of the block's own [6 · width].
    case shared(Tensor)

    init(_ w: Weights, _ c: VARConfiguration) throws(DiffError) {
        if c.sharesModulation {
            let table = try w.tensor("ada_gss", [1, 1, 6, c.width]).widened(budget: w.options.budget)
            self = .shared(try table.reshaped(Shape(6 &* c.width)).detached)
        } else {
            self = .own(try Linear(w.scope("ada_lin.1"), c.width, 6 &* c.width, of: .vectors))
        }
    }

    func callAsFunction(_ condition: Tensor, _ shared: Tensor?, _ run: Run) throws(DiffError) -> Tensor {
        switch self {
        case .own(let layer): return try layer(condition, run)
        case .shared(let table):
            guard let shared else { throw DiffError(.internal, "a shared modulation without its layer") }
            return try run.addTable(shared, table)
        }
    }
}

extension Tensor {
    /// exp(min(x, ln limit)) of every element, in a block of its own.
    fileprivate func clampedExponentials(limit: Double, budget: MemoryBudget?) throws(DiffError) -> Tensor {
        let wide = try widened(budget: budget)
        let bound = Float(limit).logarithm
        let values = wide.array.map { min($0, bound).exponential }
        guard values.count == shape.count else { return wide }
        return try Tensor(values, Shape(shape.count), budget: budget)
    }
}
