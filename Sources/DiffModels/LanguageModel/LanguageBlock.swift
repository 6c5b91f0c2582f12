import DiffTensor

/// One block: attention over the memory, then a gated MLP, each behind a norm and added to what came in.
final class LanguageBlock: Sendable {
    let site: Site
    private let layer, heads: Int
    private let eps: Float
    private let p: LanguageBlockParameters

    init(
        _ p: LanguageBlockParameters, _ c: LanguageConfiguration, layer: Int, name: String, _ layout: inout SiteLayout
    ) {
        // No sites for attention and MLP: a method that left out an attention would leave keys and values unwritten.
        site = layout.add(name, .block)
        (self.p, self.layer, heads, eps) = (p, layer, c.heads, c.eps)
    }

    /// `x` is [1, fed rows, width]; gives the same, or only the rows of `wanted`, which are exact: other rows matter to nobody but
    /// through their keys and values, which are stored for all.
    func callAsFunction(_ x: Tensor, _ pass: LanguagePass, wanted: LanguagePass.Wanted?, _ run: Run) throws(DiffError)
        -> Tensor
    {
        try run.at(site, x) { () throws(DiffError) in
            let a = try run.rmsNorm(x, weight: p.attentionNorm, eps: eps)
            try run.store(p.keysValues(a, run), pass.rows, layer: layer)
            guard let wanted else { return try rest(x, a, pass.rows, run) }
            return try run.workspace.stretched(wanted.rows.count, to: pass.capacity) { () throws(DiffError) in
                try rest(run.gatherRows(x, wanted.indices), run.gatherRows(a, wanted.indices), wanted.rows, run)
            }
        }
    }

    /// All behind keys and values: `x` came in, `a` is its norm.
    private func rest(_ x: Tensor, _ a: Tensor, _ rows: MemoryRows, _ run: Run) throws(DiffError) -> Tensor {
        let seen = try run.attention(p.queries(a, run), rows, layer: layer, heads: heads)
        let y = try run.add(x, p.attentionOut(seen, run))
        let hidden = try run.swiGLU(p.gateUp(run.rmsNorm(y, weight: p.mlpNorm, eps: eps), run))
        return try run.add(y, p.down(hidden, run))
    }
}

/// What all blocks of one pass share.
struct LanguagePass {
    /// The rows whose results are wanted.
    struct Wanted {
        let indices: [Int]
        let rows: MemoryRows
    }

    let rows: MemoryRows
    /// Rows of the largest pass.
    let capacity: Int
    let wanted: Wanted

    init(_ feeding: Feeding, _ memory: KeyValueMemory) throws(DiffError) {
        rows = try MemoryRows(feeding, memory)
        wanted = Wanted(indices: feeding.wantedRows, rows: try MemoryRows(feeding, wantedOnly: true, memory))
        capacity = memory.slots.each.reduce(0) { Checked.sum($0, $1.length) }
    }
}
