import DiffTensor

/// LLaDA's rule for one sample. Source: `generate` and `get_num_transfer_tokens` of the LLaDA repository; thresholds
/// after Fast-dLLM. There is no early stop: what follows an end token is cut off from the finished text.
struct LLaDARow: DecodingRow {
    var sequence: DecodingSequence
    private let options: LLaDAOptions
    private let sample: Int
    private let blocks: [Range<Int>]
    private var blockIndex = 0
    private var stepInBlock = 0
    /// Tokens to reveal in each step of the block: evenly, what remains goes to the first ones. Counted when the block begins, unlike Dream's.
    private var counts: [Int] = []
    /// A block's positions in the order of their revelation, where that is decided beforehand, and how many are done.
    private var order: [Int]?
    private var done = 0
    private var revealing: [Int] = []
    /// Draws of this step that decide its order, by position.
    private var draws: [Double]?

    init(_ prompt: MaskedPrompt, _ options: LLaDAOptions, sample: Int) {
        sequence = DecodingSequence(prompt, options.common)
        (self.options, self.sample) = (options, sample)
        blocks = options.common.blocks(prompt, of: options.blockLength)
    }

    var isDone: Bool { blockIndex >= blocks.count }

    private var block: Range<Int> { blocks.at(blockIndex) ?? 0..<0 }

    func source(of position: Int) -> Int { position }

    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound {
        if stepInBlock == 0 { try begin(fixedOrder, &noise) }
        revealing = order.map { Array($0.dropFirst(done).prefix(counts.at(stepInBlock) ?? 0)) } ?? []
        return UnmaskingRound(
            sample: sample, step: sequence.step, stepInBlock: stepInBlock, block: block, masked: sequence.masked,
            revealed: stepInBlock == 0 ? [] : sequence.revealed, revealing: revealing, predictsNext: false)
    }

    private mutating func begin(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) {
        let masked = sequence.masked.positions.filter { block.contains($0) }
        let masks = masked.count
        let steps = options.steps.map { $0 / max(1, blocks.count) } ?? masks
        let (each, rest) = (masks / max(1, steps), masks % max(1, steps))
        counts = Indices(below: steps).map { each &+ ($0 < rest ? 1 : 0) }
        (order, done) = (nil, 0)
        guard fixedOrder else { return }
        guard options.remasking == .random else {
            throw DiffError(.incompatible, "an order fixed when a block begins cannot follow confidences; use random")
        }
        // One draw per position of the sequence, of which the block's are sorted: dKV-Cache-Greedy draws so, and draws outside of the block
        // belong to the random stream.
        let draws = try noise.uniform(sample, sequence.count)
        order = largest(masked.count, of: masked.map { Double(draws.at($0) ?? 0) }).compactMap { masked.at($0) }
    }

    mutating func candidates(_ queries: PositionSet, _ noise: inout DecodingNoise) throws(DiffError) -> [Int] {
        draws = nil
        if order != nil { return revealing.sorted() }
        let eligible = eligible(queries)
        guard options.remasking == .random, options.temperature == 0 else { return eligible }
        // The order does not depend on the tokens, so only those that are revealed need results.
        let values = try drawOrder(queries, &noise)
        draws = values
        let chosen = chosenPositions(eligible, eligible.map { values.at($0) ?? -.infinity })
        return chosen.sorted()
    }

    /// Query positions that are masked, up to the block's end: what earlier blocks left, and masks in the prompt, compete too, since the
    /// published code excludes only positions after the block.
    private func eligible(_ queries: PositionSet) -> [Int] {
        queries.positions.filter { $0 < block.upperBound && sequence.isMasked($0) }
    }

    /// The published code draws for all that it computes, whether it uses the draw or not: the random stream depends on the query positions.
    func drawn(_ candidates: [Int], _ queries: PositionSet) -> [Int] { queries.positions }

    /// A draw per query position, by position.
    private func drawOrder(_ queries: PositionSet, _ noise: inout DecodingNoise) throws(DiffError) -> [Double] {
        let values = try noise.uniform(sample, queries.count)
        return sequence.spread(queries.positions, values.map { Double($0) })
    }

    /// The positions revealed in this step, by falling value.
    private func chosenPositions(_ eligible: [Int], _ values: [Double]) -> [Int] {
        let count = options.threshold == nil ? counts.at(stepInBlock) ?? 0 : eligible.count
        var positions: [Int] = []
        for (rank, index) in largest(count, of: values).numbered {
            guard let position = eligible.at(index), let value = values.at(index) else { continue }
            // The surest one whatever its confidence, so that every pass makes progress; then all that reach the threshold.
            if let threshold = options.threshold, rank > 0, !(value >= threshold) { break }
            positions.append(position)
        }
        return positions
    }

    mutating func reveal(
        _ candidates: [Int], _ queries: PositionSet, _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError) {
        var tokens: [Int: ChosenToken] = [:]
        for (position, chosen) in zip(candidates, choice) { tokens.put(chosen, for: position) }
        var (positions, confidences): ([Int], [Double])
        if order != nil {
            (positions, confidences) = (revealing, [])
            done &+= revealing.count
        } else if options.remasking == .random {
            let values = if let draws { draws } else { try drawOrder(queries, &noise) }
            let eligible = eligible(queries)
            let own = eligible.map { values.at($0) ?? -.infinity }
            (positions, confidences) = (chosenPositions(eligible, own), sequence.spread(eligible, own))
        } else {
            let values = choice.map { options.reluctant.contains($0.token) ? -Double.infinity : $0.confidence }
            (positions, confidences) = (chosenPositions(candidates, values), sequence.spread(candidates, values))
        }
        let writes = positions.compactMap { position in tokens[position].map { (position: position, token: $0.token) } }
        // Where the mask may be chosen, it stays a mask and probably wins again: a block that gains no other token would never be done.
        let advances = writes.contains { $0.token != sequence.mask }
        sequence.finish(writes, confidences: confidences)
        stepInBlock &+= 1
        let isComplete =
            options.threshold == nil
            ? stepInBlock >= counts.count
            : stepInBlock >= options.leastSteps && (sequence.maskCount(in: block) == 0 || !advances)
        if isComplete { (blockIndex, stepInBlock) = (blockIndex &+ 1, 0) }
    }
}
