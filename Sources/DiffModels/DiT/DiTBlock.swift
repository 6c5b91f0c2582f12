import DiffCheckpoint
import DiffTensor

/// One DiT block (adaLN-Zero). Source: `DiTBlock` of facebookresearch/DiT.
final class DiTBlock: Sendable {
    let site, attentionSite, mlpSite: Site
    private let heads, grid: Int
    private let eps1, eps2: Float
    /// The six modulation vectors are computed in four parts: a reused module needs its gate only.
    private let attentionModulation, attentionGate, mlpModulation, mlpGate: Linear
    private let qkv, projection, fc1, fc2: Linear

    // Not inlined: the network's initialiser has a large frame without this one's layers.
    @inline(never)
    init(_ p: DiTBlockParameters, _ c: DiTConfiguration, _ layout: inout SiteLayout) throws(DiffError) {
        site = layout.add(p.name, .block)
        attentionSite = layout.add(p.attentionName, .attention, in: site)
        mlpSite = layout.add(p.mlpName, .mlp, in: site)
        (heads, grid) = (c.heads, c.grid)
        eps1 = 1e-6
        eps2 = c.conventions == .diffusers ? c.secondNormEps : 1e-6
        attentionModulation = try p.modulation.outputs(0, 2 * c.width)
        attentionGate = try p.modulation.outputs(2 * c.width, c.width)
        mlpModulation = try p.modulation.outputs(3 * c.width, 2 * c.width)
        mlpGate = try p.modulation.outputs(5 * c.width, c.width)
        (qkv, projection, fc1, fc2) = (p.qkv, p.projection, p.fc1, p.fc2)
    }

    /// `x` is [batch, tokens, width], `c` the conditioning after SiLU [batch, width]. The gate is applied outside the
    /// module sites: a reused output meets the gate of its own step.
    func callAsFunction(_ x: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.at(site, x) { () throws(DiffError) in
            // Inside the site: methods that act on blocks see one output, whether it is computed again later or not.
            guard run.startsSegments else { return try layers(x, c, run) }
            return try run.segment { () throws(DiffError) in try self.layers(x, c, run) }
        }
    }

    private func layers(_ x: Tensor, _ c: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let attention = try run.at(attentionSite, x) { () throws(DiffError) in
            let h = try modulated(x, c, attentionModulation, eps1, run)
            let call = try AttentionCall(
                site: attentionSite, qkv: qkv(h, run), heads: heads, gridHeight: grid, gridWidth: grid)
            return try projection(run.attention(call), run)
        }
        let y = try run.addGated(x, attention, gate: RowVectors(attentionGate(c, run), 0, of: 1))
        let mlp = try run.at(mlpSite, y) { () throws(DiffError) in
            let h = try modulated(y, c, mlpModulation, eps2, run)
            return try fc2(fc1(h, run, .geluTanh), run)
        }
        return try run.addGated(y, mlp, gate: RowVectors(mlpGate(c, run), 0, of: 1))
    }

    private func modulated(
        _ x: Tensor, _ c: Tensor, _ modulation: Linear, _ eps: Float, _ run: Run
    ) throws(DiffError) -> Tensor {
        let m = try modulation(c, run)
        return try run.normModulate(x, shift: RowVectors(m, 0, of: 2), scale: RowVectors(m, 1, of: 2), eps: eps)
    }
}
