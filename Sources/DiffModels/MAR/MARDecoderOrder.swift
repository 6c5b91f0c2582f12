import DiffTensor

/// Where the decoder's rows come from and what is read off them, as numbers of rows of matrices.
struct MARDecoderOrder {
    /// For each row of the decoder's input the row among those of the encoder, or the one after all of them: an unknown token.
    private(set) var rows: [Int] = []
    /// The position of each.
    private(set) var positions: [Int] = []
    /// The tokens that are asked about, for each row of the result, and where they stand among the decoder's rows.
    private(set) var tokens: [Int] = []
    private(set) var outputs: [Int] = []
    /// Tokens that are asked about, of each sample.
    private(set) var wanted = 0

    /// The order for `rows` rows, the buffer before the tokens; with `wantedFirst` the tokens that are asked about before all others.
    init(_ pass: MARPass, _ c: MARConfiguration, rows count: Int, wantedFirst: Bool) {
        let each = Checked.sum(c.buffer, pass.knownCount)
        let unknown = count &* each
        wanted = pass.wantedCount ?? c.tokens
        for row in Indices(below: count) {
            let sample = row % max(1, pass.samples)
            var origins = [Int](repeating: unknown, count: max(0, c.rows))
            for index in Indices(below: c.buffer) { origins.put(row &* each &+ index, at: index) }
            for (index, token) in (pass.known.at(sample) ?? []).numbered {
                origins.put(row &* each &+ c.buffer &+ index, at: c.buffer &+ token)
            }
            let asked = pass.wanted.map { $0.at(sample) ?? [] } ?? Array(Indices(below: c.tokens))
            for token in asked.each {
                tokens.append(token)
                outputs.append(row &* c.rows &+ c.buffer &+ token)
            }
            guard wantedFirst else {
                for (position, origin) in origins.numbered { add(origin, position) }
                continue
            }
            var isAsked = [Bool](repeating: false, count: max(0, c.rows))
            for token in asked.each {
                isAsked.put(true, at: c.buffer &+ token)
                add(origins.at(c.buffer &+ token) ?? unknown, c.buffer &+ token)
            }
            for (position, origin) in origins.numbered where isAsked.at(position) != true { add(origin, position) }
        }
    }

    private mutating func add(_ row: Int, _ position: Int) {
        rows.append(row)
        positions.append(position)
    }
}
