import DiffTensor
import Glibc

/// Dream's rule for one sample. Source: `_sample` and `sample_tokens` of the Dream repository (generation_utils.py); blocks and thresholds
/// after Fast-dLLM (generation_utils_block.py).
struct DreamRow: DecodingRow {
    var sequence: DecodingSequence
    private let options: DreamOptions
    private let sample: Int
    private var pace: DreamPace

    init(_ prompt: MaskedPrompt, _ options: DreamOptions, sample: Int) {
        sequence = DecodingSequence(prompt, options.common)
        pace = DreamPace(prompt, options)
        (self.options, self.sample) = (options, sample)
    }

    var isDone: Bool { pace.isDone }

    /// Row p of the logits predicts position p + 1, since the network was adapted from a causal model: `cat([logits[:, :1], logits[:, :-1]])`.
    /// The first position, with nothing before it, takes its own row, and the last row is never used.
    func source(of position: Int) -> Int { max(0, position &- 1) }

    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound {
        guard !fixedOrder else {
            throw DiffError(.incompatible, "Dream's decoding has no order that could be decided beforehand")
        }
        if pace.stepInBlock == 0 { pace.begin(masks: sequence.maskCount(in: pace.block)) }
        return UnmaskingRound(
            sample: sample, step: sequence.step, stepInBlock: pace.stepInBlock, block: pace.block,
            masked: sequence.masked, revealed: sequence.revealed, revealing: [], predictsNext: true)
    }

    mutating func candidates(_ queries: PositionSet, _ noise: inout DecodingNoise) throws(DiffError) -> [Int] {
        let masked = sequence.masked.positions.filter { pace.block.contains($0) }
        var positions = masked
        if pace.hasBlocks {
            // A later step may not compute the position before the block, whose results decide the block's first position. So that one
            // is revealed when the block begins.
            positions = []
            for position in masked.each
            where pace.stepInBlock == 0 ? positions.isEmpty : queries.contains(source(of: position)) {
                positions.append(position)
            }
        } else if options.algorithm == .origin {
            let draws = try noise.uniform(sample, masked.count)
            let share = pace.share ?? .infinity
            positions = masked.numbered.filter { (draws.at($0.offset) ?? 1) < share }.map(\.element)
        }
        // A rule that caches by the flags of this model always computes the rows it needs.
        guard positions.each.allSatisfy({ queries.contains(source(of: $0)) }) else {
            throw DiffError(.incompatible, "a method left out a position that a masked one depends on")
        }
        return positions
    }

    /// With blocks the published code draws for the whole sequence when a block begins, and under a threshold for masked positions after
    /// the block too, as far as they are computed.
    func drawn(_ candidates: [Int], _ queries: PositionSet) -> [Int] {
        guard pace.hasBlocks else { return candidates }
        if pace.stepInBlock == 0 { return PositionSet(all: sequence.count).positions }
        guard options.threshold != nil else { return candidates }
        return candidates + queries.positions.filter { $0 >= pace.block.upperBound && sequence.isMasked($0) }
    }

    mutating func reveal(
        _ candidates: [Int], _ queries: PositionSet, _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError) {
        let values = choice.map(\.confidence)
        let tokens = choice.map(\.token)
        var (chosen, confidences): ([Int], [Double]) = ([], [])
        if options.algorithm == .origin || (pace.hasBlocks && pace.stepInBlock == 0) {
            chosen = Array(candidates.indices)
        } else if let threshold = options.threshold {
            (chosen, confidences) = (sure(values, threshold), sequence.spread(candidates, values))
        } else {
            let count = pace.count(of: candidates.count)
            if count > 0, options.algorithmTemperature > 0 {
                chosen = try drawn(count, candidates, values, queries, &noise)
            } else if count > 0 {
                (chosen, confidences) = (largest(count, of: values), sequence.spread(candidates, values))
            }
        }
        let writes = chosen.compactMap { index in
            candidates.at(index).flatMap { position in tokens.at(index).map { (position: position, token: $0) } }
        }
        sequence.finish(writes, confidences: confidences)
        pace.advance(
            masks: sequence.maskCount(in: pace.block), advances: writes.contains { $0.token != sequence.mask },
            revealed: writes.count)
    }

    /// The surest, and all of at least `threshold` within the bound of the pass. Compared in f32, as the probabilities are.
    private func sure(_ values: [Double], _ threshold: Double) -> [Int] {
        var chosen: [Int] = []
        for index in largest(pace.bound ?? values.count, of: values).each {
            guard let value = values.at(index) else { continue }
            if !chosen.isEmpty, !(Float(value) >= Float(threshold)) { break }
            chosen.append(index)
        }
        return chosen
    }

    /// `count` candidates drawn without replacement from softmax(confidence / temperature): the largest p / e with e ~ Exp(1), in f32, as
    /// torch.multinomial draws on the CPU. Sequential draws without replacement have the same distribution.
    private func drawn(
        _ count: Int, _ candidates: [Int], _ values: [Double], _ queries: PositionSet, _ noise: inout DecodingNoise
    ) throws(DiffError) -> [Int] {
        let scaled = values.each.map { Float($0) / Float(options.algorithmTemperature) }
        let highest = scaled.max() ?? 0
        let weights = scaled.each.map { expf($0 - highest) }
        let sum = weights.each.reduce(0, +)
        // The published code draws for every position of the sequence, with blocks for those that are computed.
        let drawn = pace.hasBlocks ? queries : PositionSet(all: sequence.count)
        let e = try noise.exponential(sample, drawn.count)
        var times = [Float](repeating: 1, count: sequence.count)
        for (number, position) in drawn.positions.numbered { times.put(e.at(number) ?? 1, at: position) }
        return largest(
            count,
            of: candidates.numbered.map { Double((weights.at($0.offset) ?? 0) / sum / (times.at($0.element) ?? 1)) })
    }
}
