import DiffTensor

/// One pass over the batch: what each sample feeds and which places it wants decided.
struct PassPlan {
    struct Share {
        let row: Int
        let fed: [Bool]
        let candidates: [Int]
        /// Places that noise is drawn for, ascending as the candidates are, which are among them.
        let drawn: [Int]
    }

    private(set) var shares: [Share] = []

    /// Rows to be decided.
    var candidates: Int { shares.each.reduce(0) { $0 &+ $1.candidates.count } }

    mutating func add(_ row: Int, _ fed: [Bool], _ candidates: [Int], drawn: [Int]) {
        shares.append(Share(row: row, fed: fed, candidates: candidates, drawn: drawn))
    }

    /// What the network is told. `twins` (above 0): each sample once more, `twins` slots later, with the caller's tokens masked.
    func feeding<Row: DecodingRow>(_ rows: [Row], twins: Int) throws(DiffError) -> Feeding {
        var samples: [FedSample] = []
        for share in shares.each {
            guard let row = rows.at(share.row) else { continue }
            samples.append(try sample(share, row, slot: share.row, masksPrompt: false))
        }
        if twins > 0 {
            for share in shares.each {
                guard let row = rows.at(share.row) else { continue }
                samples.append(try sample(share, row, slot: share.row &+ twins, masksPrompt: true))
            }
        }
        return Feeding(samples)
    }

    private func sample<Row: DecodingRow>(
        _ share: Share, _ row: Row, slot: Int, masksPrompt: Bool
    ) throws(DiffError) -> FedSample {
        let canvas = row.canvas
        var (places, tokens, wanted): ([Int], [Int], [Int]) = ([], [], [])
        let sources = Set(share.candidates.map(row.source))
        for (place, isFed) in share.fed.numbered where isFed && place >= canvas.padding {
            // Padding is seen by nobody, so feeding it would change nothing.
            if sources.contains(place) { wanted.append(places.count) }
            places.append(place)
            let isHidden = masksPrompt && canvas.isGiven.at(place) ?? false
            tokens.append(isHidden ? canvas.mask : canvas.tokens.at(place) ?? 0)
        }
        return try FedSample(slot: slot, places: places, tokens: tokens, wanted: wanted)
    }

    /// For each place that noise is drawn for, in order, its sample and whether it is a candidate.
    var draws: [(sample: Int, isUsed: Bool)] {
        var draws: [(sample: Int, isUsed: Bool)] = []
        for share in shares.each {
            var next = 0
            for place in share.drawn.each {
                let isUsed = share.candidates.at(next) == place
                draws.append((share.row, isUsed))
                if isUsed { next &+= 1 }
            }
        }
        return draws
    }

    /// For each candidate the row of the states that decides it. Two candidates share a row where the first place is masked:
    /// it is decided by its own results, and the second place by the same.
    func sources<Row: DecodingRow>(_ rows: [Row]) -> [Int] {
        var (sources, first): ([Int], Int) = ([], 0)
        for share in shares.each {
            guard let row = rows.at(share.row) else { continue }
            let wanted = Set(share.candidates.map(row.source)).sorted()
            for candidate in share.candidates.each {
                sources.append(first &+ (wanted.firstIndex(of: row.source(of: candidate)) ?? 0))
            }
            first &+= wanted.count
        }
        return sources
    }
}
