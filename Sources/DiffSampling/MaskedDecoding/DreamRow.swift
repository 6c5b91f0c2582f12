import DiffTensor
import Glibc

/// Dream's rule for one sample. Source: `_sample` of the Dream repository.
struct DreamRow: DecodingRow {
    var canvas: DecodingCanvas
    private let options: DreamOptions
    private let times: [Float]
    private let sample: Int

    init(_ prompt: MaskedPrompt, _ options: DreamOptions, times: [Float], sample: Int) {
        canvas = DecodingCanvas(prompt, options.common)
        (self.options, self.times, self.sample) = (options, times, sample)
    }

    var isDone: Bool { canvas.step >= options.steps }

    /// Row p of the network's results predicts place p + 1; the first place has to do with its own.
    func source(of place: Int) -> Int { max(0, place &- 1) }

    mutating func round(_ fixedOrder: Bool, _ noise: inout DecodingNoise) throws(DiffError) -> UnmaskingRound {
        guard !fixedOrder else {
            throw DiffError(.incompatible, "Dream's decoding has no blocks whose order could be decided beforehand")
        }
        return UnmaskingRound(
            sample: sample, step: canvas.step, stepInBlock: canvas.step, block: canvas.promptLength..<canvas.count,
            isMasked: canvas.isMasked, revealed: canvas.revealed, revealing: [], predictsNext: true)
    }

    /// The share of masked places that this step reveals; nil in the last step, which reveals all.
    private var share: Float? {
        guard canvas.step < options.steps &- 1, let t = times.at(canvas.step), let s = times.at(canvas.step &+ 1) else {
            return nil
        }
        return 1 - s / t
    }

    mutating func candidates(_ fed: [Bool], _ noise: inout DecodingNoise) throws(DiffError) -> [Int] {
        let masked = Indices(below: canvas.count).filter(canvas.isMasked)
        let places: [Int]
        if options.algorithm == .origin {
            let draws = try noise.uniform(sample, masked.count)
            places = masked.numbered.filter { (draws.at($0.offset) ?? 1) < share ?? .infinity }.map(\.element)
        } else {
            places = masked
        }
        // A rule that caches by the flags of this model always feeds the rows it needs.
        guard places.each.allSatisfy({ fed.at(source(of: $0)) ?? false }) else {
            throw DiffError(.incompatible, "a method left out a place that a masked one depends on")
        }
        return places
    }

    mutating func reveal(
        _ candidates: [Int], _ fed: [Bool], _ choice: ArraySlice<ChosenToken>, _ noise: inout DecodingNoise
    ) throws(DiffError) {
        let values = choice.map(\.confidence)
        let tokens = choice.map(\.token)
        var (chosen, confidences): ([Int], [Double]) = ([], [])
        if options.algorithm == .origin {
            chosen = Array(candidates.indices)
        } else {
            let wanted = share.map { max(0, Float(candidates.count) * $0).rounded(.down) }
            let count = wanted.flatMap { Int(exactly: $0) } ?? candidates.count
            if count > 0 {
                if options.algorithmTemperature > 0 {
                    chosen = try drawn(count, candidates, values, &noise)
                } else {
                    chosen = largest(count, of: values)
                    confidences = canvas.spread(candidates, values)
                }
            }
        }
        let writes = chosen.compactMap { position in
            candidates.at(position).flatMap { place in tokens.at(position).map { (place: place, token: $0) } }
        }
        canvas.finish(writes, confidences: confidences)
    }

    /// `count` candidates drawn without replacement from softmax(confidence / temperature): the largest p / e, in f32.
    private func drawn(
        _ count: Int, _ candidates: [Int], _ values: [Double], _ noise: inout DecodingNoise
    ) throws(DiffError) -> [Int] {
        let scaled = values.each.map { Float($0) / Float(options.algorithmTemperature) }
        let highest = scaled.max() ?? 0
        let weights = scaled.each.map { expf($0 - highest) }
        let sum = weights.each.reduce(0, +)
        // Values for all places of the canvas are drawn, as the published code does.
        let e = try noise.exponential(sample, canvas.count)
        return largest(
            count, of: candidates.numbered.map { Double((weights.at($0.offset) ?? 0) / sum / (e.at($0.element) ?? 1)) })
    }
}
