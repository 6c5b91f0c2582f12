import DiffTensor

/// One pass over the batch: what each sequence computes and which of its tokens are decided.
struct PassPlan {
    struct Share {
        let row: Int
        let queries: PositionSet
        let candidates: [Int]
        /// Positions that noise is drawn for, ascending as the candidates are, which are among them.
        let drawn: [Int]
    }

    private(set) var shares: [Share] = []

    /// Rows to be decided.
    var candidates: Int { shares.each.reduce(0) { $0 &+ $1.candidates.count } }

    mutating func add(_ row: Int, _ queries: PositionSet, _ candidates: [Int], drawn: [Int]) {
        shares.append(Share(row: row, queries: queries, candidates: candidates, drawn: drawn))
    }

    /// What the network is told. `isGuided`: each sequence once more after all others, with the caller's tokens masked, for the
    /// unconditional rows.
    func pass<Row: DecodingRow>(_ rows: [Row], isGuided: Bool) -> MaskedPass {
        var pass = MaskedPass(rows.map(\.sequence.tokens))
        for share in shares.each {
            guard let row = rows.at(share.row) else { continue }
            // No position attends to padding, so computing it would change nothing.
            let queries = share.queries.filter { $0 >= row.sequence.padding }
            let sources = Set(share.candidates.each.map(row.source))
            pass.put(queries, wanted: queries.filter { sources.contains($0) }, at: share.row)
        }
        guard isGuided else { return pass }
        return pass.doubled(
            rows.map { row in
                row.sequence.tokens.numbered.map { position, token in
                    row.sequence.given.contains(position) ? row.sequence.mask : token
                }
            })
    }

    /// For each position that noise is drawn for, in order, its sequence and whether it is a candidate.
    var draws: [(sample: Int, isUsed: Bool)] {
        var draws: [(sample: Int, isUsed: Bool)] = []
        for share in shares.each {
            var next = 0
            for position in share.drawn.each {
                let isUsed = share.candidates.at(next) == position
                draws.append((share.row, isUsed))
                if isUsed { next &+= 1 }
            }
        }
        return draws
    }

    /// For each candidate the row of the states that decides it. Two candidates share a row where the first position is masked:
    /// it is decided by its own results, and the second position by the same.
    func sources<Row: DecodingRow>(_ rows: [Row]) -> [Int] {
        var (sources, first): ([Int], Int) = ([], 0)
        for share in shares.each {
            guard let row = rows.at(share.row) else { continue }
            let wanted = Set(share.candidates.each.map(row.source)).sorted()
            for candidate in share.candidates.each {
                sources.append(first &+ (wanted.firstIndex(of: row.source(of: candidate)) ?? 0))
            }
            first &+= wanted.count
        }
        return sources
    }
}
