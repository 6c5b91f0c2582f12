import DiffTensor
import Glibc

/// Dream's rule for one sample. Source: `_sample` of the Dream repository; blocks and thresholds after Fast-dLLM.
struct DreamRow: DecodingRow {
    var canvas: DecodingCanvas
    private let options: DreamOptions
    private let sample: Int
    private var pace: DreamPace

    init(_ prompt: MaskedPrompt, _ options: DreamOptions, sample: Int) {
        canvas = DecodingCanvas(prompt, options.common)
        pace = DreamPace(prompt, options)
        (self.options, self.sample) = (options, sample)
    }

    var isDone: Bool { pace.isDone }

    /// Row p of the network's results predicts place p + 1; the first place, which has nothing before it, has to do with its own.
    func source(of place: Int) -> Int { max(0, place &- 1) }

    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound {
        guard !fixedOrder else {
            throw DiffError(.incompatible, "Dream's decoding has no order that could be decided beforehand")
        }
        if pace.stepInBlock == 0 { pace.begin(masks: canvas.masked(in: pace.block)) }
        return UnmaskingRound(
            sample: sample, step: canvas.step, stepInBlock: pace.stepInBlock, block: pace.block,
            isMasked: canvas.isMasked, revealed: canvas.revealed, revealing: [], predictsNext: true)
    }

    mutating func candidates(_ fed: [Bool], _ noise: inout DecodingNoise) throws(DiffError) -> [Int] {
        let masked = canvas.masked(pace.block)
        var places = masked
        if pace.hasBlocks {
            // A later step may not feed the place before the block, whose results decide the block's first place. So that one
            // is revealed when the block begins.
            places = []
            for place in masked.each where pace.stepInBlock == 0 ? places.isEmpty : fed.at(source(of: place)) ?? false {
                places.append(place)
            }
        } else if options.algorithm == .origin {
            let draws = try noise.uniform(sample, masked.count)
            let share = pace.share ?? .infinity
            places = masked.numbered.filter { (draws.at($0.offset) ?? 1) < share }.map(\.element)
        }
        // A rule that caches by the flags of this model always feeds the rows it needs.
        guard places.each.allSatisfy({ fed.at(source(of: $0)) ?? false }) else {
            throw DiffError(.incompatible, "a method left out a place that a masked one depends on")
        }
        return places
    }

    /// With blocks the published code draws for the whole canvas when a block begins, and under a threshold for masked places behind
    /// the block too, as far as they are fed.
    func drawn(_ candidates: [Int], _ fed: [Bool]) -> [Int] {
        guard pace.hasBlocks else { return candidates }
        if pace.stepInBlock == 0 { return Array(fed.indices) }
        guard options.threshold != nil else { return candidates }
        return candidates
            + fed.numbered.filter {
                $0.element && $0.offset >= pace.block.upperBound && canvas.isMasked($0.offset)
            }.map(\.offset)
    }

    mutating func reveal(
        _ candidates: [Int], _ fed: [Bool], _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError) {
        let values = choice.map(\.confidence)
        let tokens = choice.map(\.token)
        var (chosen, confidences): ([Int], [Double]) = ([], [])
        if options.algorithm == .origin || (pace.hasBlocks && pace.stepInBlock == 0) {
            chosen = Array(candidates.indices)
        } else if let threshold = options.threshold {
            (chosen, confidences) = (sure(values, threshold), canvas.spread(candidates, values))
        } else {
            let count = pace.count(of: candidates.count)
            if count > 0, options.algorithmTemperature > 0 {
                chosen = try drawn(count, candidates, values, fed, &noise)
            } else if count > 0 {
                (chosen, confidences) = (largest(count, of: values), canvas.spread(candidates, values))
            }
        }
        let writes = chosen.compactMap { position in
            candidates.at(position).flatMap { place in tokens.at(position).map { (place: place, token: $0) } }
        }
        canvas.finish(writes, confidences: confidences)
        pace.advance(
            masks: canvas.masked(in: pace.block), advances: writes.contains { $0.token != canvas.mask },
            revealed: writes.count)
    }

    /// The surest, and all of at least `threshold` within the bound of the pass. Compared in f32, as the probabilities are.
    private func sure(_ values: [Double], _ threshold: Double) -> [Int] {
        var chosen: [Int] = []
        for position in largest(pace.bound ?? values.count, of: values).each {
            guard let value = values.at(position) else { continue }
            if !chosen.isEmpty, !(Float(value) >= Float(threshold)) { break }
            chosen.append(position)
        }
        return chosen
    }

    /// `count` candidates drawn without replacement from softmax(confidence / temperature): the largest p / e, in f32.
    private func drawn(
        _ count: Int, _ candidates: [Int], _ values: [Double], _ fed: [Bool], _ noise: inout DecodingNoise
    ) throws(DiffError) -> [Int] {
        let scaled = values.each.map { Float($0) / Float(options.algorithmTemperature) }
        let highest = scaled.max() ?? 0
        let weights = scaled.each.map { expf($0 - highest) }
        let sum = weights.each.reduce(0, +)
        // The published code draws for every place of the canvas, with blocks for those that are fed.
        let drawn = pace.hasBlocks ? fed.numbered.filter(\.element).map(\.offset) : Array(fed.indices)
        let e = try noise.exponential(sample, drawn.count)
        var times = [Float](repeating: 1, count: canvas.count)
        for (number, place) in drawn.numbered { times.put(e.at(number) ?? 1, at: place) }
        return largest(
            count,
            of: candidates.numbered.map { Double((weights.at($0.offset) ?? 0) / sum / (times.at($0.element) ?? 1)) })
    }
}
