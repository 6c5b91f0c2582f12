import DiffTensor

/// LLaDA's rule for one sample. Source: `generate` of the LLaDA repository; thresholds after Fast-dLLM.
struct LLaDARow: DecodingRow {
    var canvas: DecodingCanvas
    private let options: LLaDAOptions
    private let sample: Int
    private let blocks: [Range<Int>]
    private var blockIndex = 0
    private var stepInBlock = 0
    /// Tokens to reveal in each step of the block: evenly, what remains goes to the first ones.
    private var counts: [Int] = []
    /// A block's places in the order of their revelation, where that is decided beforehand, and how many are done.
    private var order: [Int]?
    private var done = 0
    private var revealing: [Int] = []
    /// Draws of this step that decide its order, by place.
    private var draws: [Double]?

    init(_ prompt: MaskedPrompt, _ options: LLaDAOptions, sample: Int) {
        canvas = DecodingCanvas(prompt, options.common)
        (self.options, self.sample) = (options, sample)
        blocks = options.common.blocks(prompt, of: options.blockLength)
    }

    var isDone: Bool { blockIndex >= blocks.count }

    private var block: Range<Int> { blocks.at(blockIndex) ?? 0..<0 }

    func source(of place: Int) -> Int { place }

    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound {
        if stepInBlock == 0 { try begin(fixedOrder, &noise) }
        revealing = order.map { Array($0.dropFirst(done).prefix(counts.at(stepInBlock) ?? 0)) } ?? []
        return UnmaskingRound(
            sample: sample, step: canvas.step, stepInBlock: stepInBlock, block: block, isMasked: canvas.isMasked,
            revealed: stepInBlock == 0 ? [] : canvas.revealed, revealing: revealing, predictsNext: false)
    }

    private mutating func begin(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) {
        let masks = canvas.masked(in: block)
        let steps = options.steps.map { $0 / max(1, blocks.count) } ?? masks
        let (each, rest) = (masks / max(1, steps), masks % max(1, steps))
        counts = Indices(below: steps).map { each &+ ($0 < rest ? 1 : 0) }
        (order, done) = (nil, 0)
        guard fixedOrder else { return }
        guard options.remasking == .random else {
            throw DiffError(.incompatible, "an order fixed when a block begins cannot follow confidences; use random")
        }
        // One draw per place of the canvas, sorted within the block.
        let draws = try noise.uniform(sample, canvas.count)
        let places = canvas.masked(block)
        order = largest(places.count, of: places.map { Double(draws.at($0) ?? 0) }).compactMap { places.at($0) }
    }

    mutating func candidates(_ fed: [Bool], _ noise: inout DecodingNoise) throws(DiffError) -> [Int] {
        draws = nil
        if order != nil { return revealing.sorted() }
        let eligible = eligible(fed)
        guard options.remasking == .random, options.temperature == 0 else { return eligible }
        // The order does not depend on the tokens, so only those that are revealed need results.
        let values = try drawOrder(fed, &noise)
        draws = values
        let chosen = chosenPlaces(eligible, eligible.map { values.at($0) ?? -.infinity })
        return chosen.sorted()
    }

    /// Fed places that are masked, up to the block's end: what earlier blocks left, and masks in the prompt, compete too.
    private func eligible(_ fed: [Bool]) -> [Int] {
        fed.numbered.filter { $0.element && $0.offset < block.upperBound && canvas.isMasked($0.offset) }.map(\.offset)
    }

    /// The published code draws for all that it feeds.
    func drawn(_ candidates: [Int], _ fed: [Bool]) -> [Int] { fed.numbered.filter(\.element).map(\.offset) }

    /// A draw per fed place, by place.
    private func drawOrder(_ fed: [Bool], _ noise: inout DecodingNoise) throws(DiffError) -> [Double] {
        let places = fed.numbered.filter(\.element).map(\.offset)
        let values = try noise.uniform(sample, places.count)
        return canvas.spread(places, values.map { Double($0) })
    }

    /// The places revealed in this step, by falling value.
    private func chosenPlaces(_ eligible: [Int], _ values: [Double]) -> [Int] {
        let count = options.threshold == nil ? counts.at(stepInBlock) ?? 0 : eligible.count
        var places: [Int] = []
        for (rank, position) in largest(count, of: values).numbered {
            guard let place = eligible.at(position), let value = values.at(position) else { continue }
            if let threshold = options.threshold, rank > 0, !(value >= threshold) { break }
            places.append(place)
        }
        return places
    }

    mutating func reveal(
        _ candidates: [Int], _ fed: [Bool], _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError) {
        var tokens: [Int: ChosenToken] = [:]
        for (place, chosen) in zip(candidates, choice) { tokens.put(chosen, for: place) }
        var (places, confidences): ([Int], [Double])
        if order != nil {
            (places, confidences) = (revealing, [])
            done &+= revealing.count
        } else if options.remasking == .random {
            let values = if let draws { draws } else { try drawOrder(fed, &noise) }
            let eligible = eligible(fed)
            let own = eligible.map { values.at($0) ?? -.infinity }
            (places, confidences) = (chosenPlaces(eligible, own), canvas.spread(eligible, own))
        } else {
            let values = choice.map { options.reluctant.contains($0.token) ? -Double.infinity : $0.confidence }
            (places, confidences) = (chosenPlaces(candidates, values), canvas.spread(candidates, values))
        }
        let writes = places.compactMap { place in tokens[place].map { (place: place, token: $0.token) } }
        // A block whose surest token is the mask itself would never be done.
        let advances = writes.contains { $0.token != canvas.mask }
        canvas.finish(writes, confidences: confidences)
        stepInBlock &+= 1
        let isComplete =
            options.threshold == nil
            ? stepInBlock >= counts.count
            : stepInBlock >= options.leastSteps && (canvas.masked(in: block) == 0 || !advances)
        if isComplete { (blockIndex, stepInBlock) = (blockIndex &+ 1, 0) }
    }
}
