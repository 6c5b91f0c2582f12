import DiffTensor

/// Reads tokens out of states, a few rows at a time: logits of all rows at once would be the largest tensor by far.
struct TokenReader {
    private let network: MaskedNetwork
    /// nil: none. The unconditional rows of a pass follow the others, in one batch: the network's memory holds both.
    private let guidance: Guidance?
    private let forbidden: [Int]
    /// Rows that go through the head together; with noise fewer, since noise takes as much again.
    private let rows: Int

    /// A reader for at most `most` rows in one pass.
    init(_ network: MaskedNetwork, guidance: Guidance?, forbidden: [Int], isNoisy: Bool, most: Int) {
        (self.network, self.guidance, self.forbidden) = (network, guidance, forbidden)
        rows = max(1, min(isNoisy ? 16 : 64, most))
    }

    /// Logits of `count` rows of `states` from `start` on; under guidance combined with those of the unconditional rows,
    /// which begin at row `unconditional`.
    private func logits(_ states: Tensor, _ start: Int, _ count: Int, unconditional: Int, _ run: Run) throws(DiffError)
        -> Tensor
    {
        let own = try network.logits(run.gatherRows(states, Array(start..<(start &+ count))), run)
        guard let guidance else {
            run.exclude(forbidden, in: own)
            return own
        }
        let other = try network.logits(
            run.gatherRows(states, Array((unconditional &+ start)..<(unconditional &+ start &+ count))), run)
        let guided = try guidance.combined(own, other, run)
        run.exclude(forbidden, in: guided)
        return guided
    }

    /// Calls `body` with the start and the count of each few of `total` rows; all take the blocks of a full few.
    private func withChunks(
        _ total: Int, _ run: Run, _ body: (Int, Int) throws(DiffError) -> Void
    ) throws(DiffError) {
        var start = 0
        while start < total {
            let count = min(rows, total &- start)
            try run.workspace.stretched(count, to: rows) { () throws(DiffError) in try body(start, count) }
            start &+= count
        }
    }

    /// LLaDA's choice of tokens: `add_gumbel_noise` in float64, as published: lower precision lowers the quality of texts (Zheng et al. 2024,
    /// arXiv:2409.02908); the confidence is of the logits without noise and temperature. Draws are taken in the order of positions, also
    /// those not used.
    func gumbel(
        _ plan: PassPlan, _ states: Tensor, temperature: Double, _ noise: inout DecodingNoise, _ run: Run
    ) throws(DiffError) -> [ChosenToken] {
        let total = plan.candidates
        var chosen: [ChosenToken] = []
        guard temperature > 0 else {
            try withChunks(total, run) { (start, count) throws(DiffError) in
                let logits = try logits(states, start, count, unconditional: total, run)
                append(try unsafe run.gumbelArgmax(logits, uniforms: nil, temperature: 0), to: &chosen)
            }
            return chosen
        }
        let draws = plan.draws
        let vocabulary = network.vocabulary
        var next = 0
        try withChunks(total, run) { (start, count) throws(DiffError) in
            let logits = try logits(states, start, count, unconditional: total, run)
            let block = try run.workspace.block(rows &* vocabulary &* 8)
            let values = unsafe block.base?.assumingMemoryBound(to: Double.self)
            var row = 0
            while let draw = draws.at(next), row < count {
                let target = unsafe draw.isUsed ? values.map { unsafe $0 + row &* vocabulary } : nil
                if !run.isDry { try unsafe noise.gumbel(draw.sample, vocabulary, into: target) }
                if draw.isUsed { row &+= 1 }
                next &+= 1
            }
            let choice = try unsafe run.gumbelArgmax(
                logits, uniforms: UnsafePointer(values), temperature: temperature)
            append(choice, to: &chosen)
        }
        while let draw = draws.at(next) {
            if !run.isDry { try unsafe noise.gumbel(draw.sample, vocabulary, into: nil) }
            next &+= 1
        }
        return chosen
    }

    /// Dream's choice of tokens (`sample_tokens`); `sources` says which row of the states decides each candidate.
    func race(
        _ plan: PassPlan, _ sources: [Int], _ states: Tensor, _ options: DreamOptions, _ noise: inout DecodingNoise,
        _ run: Run
    ) throws(DiffError) -> [ChosenToken] {
        let score: CategoricalScore =
            switch options.algorithm {
            case .margin: .margin
            case .entropy: .entropy
            default: .probability
            }
        let draws = plan.draws
        let vocabulary = network.vocabulary
        let isNoisy = options.temperature > 0
        var chosen: [ChosenToken] = []
        var next = 0
        try withChunks(sources.count, run) { (start, count) throws(DiffError) in
            let logits = try network.logits(
                run.gatherRows(states, rows(sources, start, count)), run)
            run.exclude(forbidden, in: logits)
            let block = isNoisy ? try run.workspace.block(rows &* vocabulary &* 4) : nil
            let values = unsafe block?.base?.assumingMemoryBound(to: Float.self)
            var row = 0
            while isNoisy, let draw = draws.at(next), row < count {
                let target = unsafe draw.isUsed ? values.map { unsafe $0 + row &* vocabulary } : nil
                if !run.isDry { try unsafe noise.exponential(draw.sample, vocabulary, into: target) }
                if draw.isUsed { row &+= 1 }
                next &+= 1
            }
            let choice = try unsafe run.exponentialArgmax(
                logits, exponentials: UnsafePointer(values), temperature: Float(options.temperature),
                topP: Float(options.topP), topK: options.topK, score: score)
            append(choice, to: &chosen)
        }
        while isNoisy, let draw = draws.at(next) {
            if !run.isDry { try unsafe noise.exponential(draw.sample, vocabulary, into: nil) }
            next &+= 1
        }
        return chosen
    }

    /// `count` elements of `sources` from `start` on.
    private func rows(_ sources: [Int], _ start: Int, _ count: Int) -> [Int] {
        var rows: [Int] = []
        for index in Indices(below: count) { rows.append(sources.at(start &+ index) ?? 0) }
        return rows
    }

    private func append(_ choice: CategoricalChoice, to chosen: inout [ChosenToken]) {
        for (token, confidence) in zip(choice.categories, choice.scores) {
            chosen.append(ChosenToken(token: token, confidence: confidence))
        }
    }
}
