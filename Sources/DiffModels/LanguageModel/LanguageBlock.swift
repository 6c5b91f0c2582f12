import DiffTensor

/// One block: attention over the memory, then a gated MLP, each after a norm and added to what came in.
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

    /// `x` is [1, query rows, width]; gives the same, or only the rows of `wanted`, which are exact: other rows matter only
    /// through their keys and values, which are stored for all.
    func callAsFunction(_ x: Tensor, _ pass: LanguagePass, wanted: LanguagePass.Rows?, _ run: Run) throws(DiffError)
        -> Tensor
    {
        try run.at(site, x) { () throws(DiffError) in
            let a = try run.rmsNorm(x, weight: p.attentionNorm, eps: eps)
            let memory = pass.memory
            try run.store(p.keysValues(a, run), at: pass.queries.positions, in: memory.layer(layer), memory.rotary)
            guard let wanted else { return try rest(x, a, pass.queries.positions, memory, run) }
            return try run.workspace.stretched(wanted.indices.count, to: pass.capacity) { () throws(DiffError) in
                try rest(
                    run.gatherRows(x, wanted.indices), run.gatherRows(a, wanted.indices), wanted.positions, memory, run)
            }
        }
    }

    /// The rest of the block after keys and values are stored. `x`: residual input; `a`: its normalised form.
    private func rest(
        _ x: Tensor, _ a: Tensor, _ positions: [PositionSet], _ memory: KeyValueMemory, _ run: Run
    ) throws(DiffError) -> Tensor {
        let seen = try run.attention(
            p.queries(a, run), at: positions, over: memory.layer(layer), memory.rotary, heads: heads)
        let y = try run.add(x, p.attentionOut(seen, run))
        let hidden = try run.gated(p.gateUp(run.rmsNorm(y, weight: p.mlpNorm, eps: eps), run), .silu)
        return try run.add(y, p.down(hidden, run))
    }
}

/// What all blocks of one pass share.
struct LanguagePass {
    /// Rows of the pass.
    struct Rows {
        /// Their numbers among the query rows.
        let indices: [Int]
        /// Where they stand, by sequence.
        let positions: [PositionSet]
    }

    let memory: KeyValueMemory
    /// All rows, and those whose results are wanted.
    let queries: Rows, wanted: Rows
    /// The token of each row.
    let tokens: [Int]
    /// Rows of the largest pass.
    let capacity: Int

    /// Throws `shape` unless tokens, queries and what is wanted of them are those of the sequences in `memory`.
    init(
        _ sequences: [[Int]], _ queries: [PositionSet], _ wanted: [PositionSet], _ memory: KeyValueMemory
    ) throws(DiffError) {
        let lengths = memory.sequences.each.map(\.length)
        guard sequences.each.map(\.count) == lengths, queries.each.map(\.length) == lengths,
            wanted.each.map(\.length) == lengths
        else {
            throw DiffError(.shape, "a pass over \(sequences.count) sequences, and a memory of \(lengths.count) others")
        }
        var (tokens, indices): ([Int], [Int]) = ([], [])
        for (index, set) in queries.numbered {
            let sequence = sequences.at(index) ?? []
            guard let own = wanted.at(index), let ranks = set.ranks(of: own) else {
                throw DiffError(.shape, "results wanted at positions that sequence \(index) does not compute")
            }
            let first = tokens.count
            for rank in ranks.each { indices.append(first &+ rank) }
            for position in set.positions.each { tokens.append(sequence.at(position) ?? 0) }
        }
        (self.memory, self.tokens) = (memory, tokens)
        self.queries = Rows(indices: Array(Indices(below: tokens.count)), positions: queries)
        self.wanted = Rows(indices: indices, positions: wanted)
        capacity = lengths.each.reduce(0) { Checked.sum($0, $1) }
    }
}
