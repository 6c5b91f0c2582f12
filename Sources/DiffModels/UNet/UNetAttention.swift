import DiffCheckpoint
import DiffTensor

/// A layer norm and an attention: to the tokens themselves, or to a text, whose keys and values are made once per prompt.
///
/// Source: `Attention` of diffusers with the default processor.
final class UNetAttention: Sendable {
    let site: Site
    private let heads: Int
    private let norm: LayerNorm
    private let projections: Projections
    private let output: Linear

    private enum Projections: Sendable {
        case tokens(qkv: Linear)
        /// `number` of the text, and of the attention among those that read any.
        case text(number: Int, context: Int, queries: Linear, keysAndValues: Linear)
    }

    /// Attention `number`, 1 or 2, of the block of `width` at the scope of `w`, whose site is `parent`.
    init(
        _ w: Weights, _ number: Int, _ width: Int, heads: Int, reading source: UNetConfiguration.Source,
        in parent: Site, _ assembly: inout UNetAssembly
    ) throws(DiffError) {
        let (name, own) = ("attn\(number)", w.scope("attn\(number)"))
        site = assembly.layout.add(w.full(name), .attention, in: parent)
        self.heads = heads
        norm = try LayerNorm(w.scope("norm\(number)"), width, eps: UNetConfiguration.layerNormEps)
        switch source {
        case .tokens:
            projections = .tokens(qkv: try Self.fused(own, ["to_q", "to_k", "to_v"], or: "to_qkv", width, width))
        case .text(let text):
            let inputs = assembly.configuration.textWidths.at(text) ?? 0
            projections = .text(
                number: text, context: assembly.addContext(),
                queries: try Linear(own.scope("to_q"), width, width, of: .tokens, bias: false),
                keysAndValues: try Self.fused(own, ["to_k", "to_v"], or: "to_kv", inputs, width))
        }
        output = try Linear(own.scope("to_out.0"), width, width, of: .tokens)
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

    /// Keys and values of the text that it reads, [batch, tokens, 2 · width]; nil when it reads none.
    func prepare(_ texts: [Tensor], _ run: Run) throws(DiffError) -> Tensor? {
        guard case .text(let number, _, _, let keysAndValues) = projections else { return nil }
        guard let text = texts.at(number) else { throw DiffError(.internal, "no text \(number)") }
        return try keysAndValues.ahead(text, run)
    }

    /// `x` is [batch, gridHeight gridWidth, width].
    func callAsFunction(
        _ x: Tensor, _ gridHeight: Int, _ gridWidth: Int, _ call: UNetCall, _ run: Run
    ) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            let attention =
                switch projections {
                case .tokens(let qkv):
                    try AttentionCall(
                        site: site, qkv: qkv(norm(x, run), run), heads: heads, gridHeight: gridHeight,
                        gridWidth: gridWidth)
                case .text(let number, let context, let queries, _):
                    try textCall(
                        queries(norm(x, run), run), number, context, gridHeight, gridWidth, call)
                }
            return try output(run.attention(attention), run)
        }
    }

    private func textCall(
        _ queries: Tensor, _ number: Int, _ context: Int, _ gridHeight: Int, _ gridWidth: Int, _ call: UNetCall
    ) throws(DiffError) -> AttentionCall {
        guard let text = call.contexts.at(context) else {
            throw DiffError(.internal, "no keys and values for attention \(context)")
        }
        return try AttentionCall(
            site: site, queries: queries, keys: AttentionRows(text, part: 0, of: 2),
            values: AttentionRows(text, part: 1, of: 2), heads: heads, mask: call.masks.at(number) ?? nil,
            gridHeight: gridHeight, gridWidth: gridWidth)
    }
}
