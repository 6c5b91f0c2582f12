import DiffCheckpoint
import DiffTensor

/// One sub-layer's modulation: shift and scale of what goes in, gate of what comes out. Computed apart: a reused module needs its gate only.
struct GatedModulation: Sendable {
    private let input, gate: Linear

    /// Chunks `first ..< first + 3` of a layer that gives several vectors of `width`.
    init(_ all: Linear, _ first: Int, _ width: Int) throws(DiffError) {
        input = try all.outputs(first &* width, 2 &* width)
        gate = try all.outputs((first &+ 2) &* width, width)
    }

    /// The norm of `x` [batch, tokens, width], shifted and scaled by what follows from `c` [batch, width].
    func callAsFunction(_ x: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let m = try input(c, run)
        return try run.normModulate(x, shift: RowVectors(m, 0, of: 2), scale: RowVectors(m, 1, of: 2), eps: 1e-6)
    }

    /// x + gate · change
    func add(_ change: Tensor, to x: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.addGated(x, change, gate: RowVectors(gate(c, run), 0, of: 1))
    }
}

/// The norm of a stream that nothing is added to any more: scale first, then shift.
struct LastModulation: Sendable {
    private let layer: Linear

    init(_ w: Weights, _ width: Int) throws(DiffError) {
        layer = try Linear(w.scope("linear"), width, 2 &* width, of: .vectors)
    }

    func callAsFunction(_ x: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let m = try layer(c, run)
        return try run.normModulate(x, shift: RowVectors(m, 1, of: 2), scale: RowVectors(m, 0, of: 2), eps: 1e-6)
    }
}

/// A block's MLP of one stream.
private final class StreamMLP: Sendable {
    let site: Site
    private let first, second: Linear
    private let modulation: GatedModulation

    init(_ w: Weights, _ modulation: GatedModulation, _ c: MMDiTConfiguration, _ site: Site) throws(DiffError) {
        first = try Linear(w.scope("net.0.proj"), c.width, c.mlpWidth, of: .tokens)
        second = try Linear(w.scope("net.2"), c.mlpWidth, c.width, of: .tokens)
        (self.modulation, self.site) = (modulation, site)
    }

    func callAsFunction(_ x: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let change = try run.at(site, x) { () throws(DiffError) in
            try second(first(modulation(x, c, run), run, .geluTanh), run)
        }
        return try modulation.add(change, to: x, c, run)
    }
}

/// A second attention of the image to itself.
private final class DualAttention: Sendable {
    private let site: Site
    private let stream: AttentionStream
    private let modulation: GatedModulation
    private let heads: Int

    init(_ w: Weights, _ modulation: GatedModulation, _ c: MMDiTConfiguration, _ site: Site) throws(DiffError) {
        stream = try AttentionStream(w, .own, c)
        (self.modulation, self.site, heads) = (modulation, site, c.heads)
    }

    /// `x` with what the attention gives for `input`, which the block began with.
    func callAsFunction(_ x: Tensor, input: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let change = try run.at(site, input) { () throws(DiffError) in
            try run.jointAttention(site, heads, (stream, modulation(input, c, run))).first
        }
        return try modulation.add(change, to: x, c, run)
    }
}

/// One block of the two streams (Esser et al. 2024), image first: one attention of all tokens, then an MLP for each. In the last block
/// the text is seen and not changed any more. Source: `JointTransformerBlock` of diffusers.
final class MMDiTBlock: Sendable {
    /// The text's side of a block that changes it.
    private final class TextChanges: Sendable {
        let attention: GatedModulation
        let mlp: StreamMLP

        init(_ attention: GatedModulation, _ mlp: StreamMLP) { (self.attention, self.mlp) = (attention, mlp) }
    }

    private let site, attentionSite: Site
    private let heads: Int
    private let image, text: AttentionStream
    private let modulation: GatedModulation
    private let dual: DualAttention?
    private let mlp: StreamMLP
    private let changes: TextChanges?
    private let lastText: LastModulation?

    // Not inlined: the network's initialiser has a large frame without this one's layers.
    @inline(never)
    init(
        _ weights: Weights, _ index: Int, _ c: MMDiTConfiguration, _ layout: inout SiteLayout
    ) throws(DiffError) {
        let name = "\(MMDiT.blockList).\(index)"
        let (w, isLast, hasDual) = (weights.scope(name), index == c.depth &- 1, c.dualAttention.each.contains(index))
        let site = layout.add(name, .block, list: MMDiT.blockList)
        (self.site, heads) = (site, c.heads)
        attentionSite = layout.add("\(name).attn", .attention, in: site)
        image = try AttentionStream(w.scope("attn"), .own, c)
        text = try AttentionStream(w.scope("attn"), .added, c, hasOutput: !isLast)
        let vectors = try Linear(w.scope("norm1.linear"), c.width, (hasDual ? 9 : 6) &* c.width, of: .vectors)
        modulation = try GatedModulation(vectors, 0, c.width)
        dual =
            hasDual
            ? try DualAttention(
                w.scope("attn2"), GatedModulation(vectors, 6, c.width), c,
                layout.add("\(name).attn2", .attention, in: site)) : nil
        mlp = try StreamMLP(
            w.scope("ff"), GatedModulation(vectors, 3, c.width), c, layout.add("\(name).ff", .mlp, in: site))
        if isLast {
            (changes, lastText) = (nil, try LastModulation(w.scope("norm1_context"), c.width))
        } else {
            let vectors = try Linear(w.scope("norm1_context.linear"), c.width, 6 &* c.width, of: .vectors)
            let site = layout.add("\(name).ff_context", .mlp, in: site)
            changes = TextChanges(
                try GatedModulation(vectors, 0, c.width),
                try StreamMLP(w.scope("ff_context"), GatedModulation(vectors, 3, c.width), c, site))
            lastText = nil
        }
    }

    /// `x` [batch, patches, width] and `text` [batch, tokens, width] after the block; of the last one `x` only. `c` [batch, width] is the
    /// conditioning after SiLU. Gates are applied outside the module sites: a reused output meets the gate of its own step.
    func callAsFunction(_ x: Tensor, text tokens: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Slots {
        try run.at(site, Slots(x, [tokens])) { () throws(DiffError) in try layers(x, tokens, c, run) }
    }

    private func layers(_ x: Tensor, _ tokens: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Slots {
        let attended = try run.at(attentionSite, Slots(x, [tokens])) { () throws(DiffError) in
            let input =
                if let changes { try changes.attention(tokens, c, run) } else {
                    try lastText?(tokens, c, run) ?? tokens
                }
            return try run.jointAttention(
                attentionSite, heads, (image, modulation(x, c, run)), (text, input, asks: changes != nil))
        }
        var y = try modulation.add(attended.first, to: x, c, run)
        if let dual { y = try dual(y, input: x, c, run) }
        y = try mlp(y, c, run)
        guard let changes, let change = attended[1] else { return Slots(y) }
        return Slots(y, [try changes.mlp(changes.attention.add(change, to: tokens, c, run), c, run)])
    }
}
