import DiffModels
import DiffTensor

/// What a request's prompts become, row for row.
final class PromptConditioning: Sendable {
    /// A tensor for each prompt, given in place of texts.
    struct Embeddings: Sendable {
        let states: Tensor, pooled: Tensor?
        let negativeStates: Tensor?, negativePooled: Tensor?
    }

    /// What is said.
    enum Words: Sendable {
        /// Token lists of the prompts and of the negative prompts (none: zeros in their place).
        case tokens(positive: [PromptTokens], negative: [PromptTokens])
        case embeddings(Embeddings)
    }

    private let encoder: TextConditioner
    private let words: Words
    /// Pictures of each prompt.
    private let perPrompt: Int
    /// Six numbers, of the prompt and of the negative prompt; nil: the network is told none.
    private let sizes: (positive: [Float], negative: [Float])?
    /// What a network distilled with guidance is told.
    private let toldGuidance: Float?
    private let clipSkip: Int?, textLength: Int

    init(
        _ encoder: TextConditioner, _ words: Words, perPrompt: Int, sizes: (positive: [Float], negative: [Float])?,
        toldGuidance: Float?, clipSkip: Int?, textLength: Int
    ) {
        (self.encoder, self.words, self.perPrompt, self.sizes) = (encoder, words, perPrompt, sizes)
        (self.toldGuidance, self.clipSkip, self.textLength) = (toldGuidance, clipSkip, textLength)
    }

    /// Throws `notFinite` when embeddings of the caller hold NaN or infinity.
    func requireFinite(_ run: Run) throws(DiffError) {
        guard case .embeddings(let given) = words else { return }
        try run.requireFinite(given.states, "prompt_embeds")
        if let pooled = given.pooled { try run.requireFinite(pooled, "pooled_prompt_embeds") }
        if let states = given.negativeStates { try run.requireFinite(states, "negative_prompt_embeds") }
        if let pooled = given.negativePooled { try run.requireFinite(pooled, "negative_pooled_prompt_embeds") }
    }

    /// What methods would be told of a run of the encoders, of which there are none.
    func context(_ picture: GivenPicture?) -> SamplingContext {
        SamplingContext(layouts: encoder.layouts + (picture?.layouts ?? []), calls: 1, rows: 1)
    }

    /// The conditioning of `samples` rows; with guidance those of the negative prompts follow.
    func conditioning(_ samples: Int, guided: Bool, _ run: Run) throws(DiffError) -> Conditioning {
        var (positive, negative) = try encoded(guided: guided, run)
        positive = try repeated(positive, samples, run)
        negative = try negative.map { (one) throws(DiffError) in try repeated(one, samples, run) }
        try tell(&positive, sizes?.positive, samples, run)
        guard guided, var negative else { return positive }
        try tell(&negative, sizes?.negative, samples, run)
        return try run.joinedSamples(positive, negative)
    }

    private func encoded(
        guided: Bool, _ run: Run
    ) throws(DiffError) -> (positive: Conditioning, negative: Conditioning?) {
        switch words {
        case .tokens(let positive, let negative):
            let states = try encoder.conditioning(positive, clipSkip: clipSkip, textLength: textLength, run)
            guard guided else { return (states, nil) }
            guard !negative.isEmpty else { return (states, try run.zeros(like: states)) }
            // As in diffusers the negative prompt is read at the layer that the model was trained with.
            return (states, try encoder.conditioning(negative, clipSkip: nil, textLength: textLength, run))
        case .embeddings(let given):
            var states = Conditioning(states: given.states)
            states.pooled = given.pooled
            guard guided else { return (states, nil) }
            guard let negative = given.negativeStates else { return (states, try run.zeros(like: states)) }
            var other = Conditioning(states: negative)
            other.pooled = given.negativePooled
            return (states, other)
        }
    }

    /// Rows for `samples` pictures: each prompt as often as pictures are wanted of it, one prompt as often as there are samples.
    private func repeated(_ c: Conditioning, _ samples: Int, _ run: Run) throws(DiffError) -> Conditioning {
        let rows = c.states.shape[0]
        guard rows != samples else { return c }
        func source(_ sample: Int) -> Int { rows == 1 ? 0 : min(sample / max(1, perPrompt), rows &- 1) }
        var repeated = Conditioning(states: try run.gatheredSamples(c.states, samples, source))
        repeated.pooled = try c.pooled.map { (x) throws(DiffError) in try run.gatheredSamples(x, samples, source) }
        return repeated
    }

    private func tell(
        _ c: inout Conditioning, _ numbers: [Float]?, _ samples: Int, _ run: Run
    ) throws(DiffError) {
        if let numbers {
            var all: [Float] = []
            for _ in Indices(below: samples) { for number in numbers.each { all.append(number) } }
            c.sizes = try run.tensor(all, Shape(samples, numbers.count))
        }
        if let toldGuidance { c.guidance = try run.filled(samples, with: toldGuidance) }
    }
}

extension Run {
    /// [samples, …] whose row i is row `source(i)` of `x`.
    fileprivate func gatheredSamples(
        _ x: Tensor, _ samples: Int, _ source: (Int) -> Int
    ) throws(DiffError) -> Tensor {
        let all = try workspace.take(x.shape.replacingFirst(samples))
        for sample in Indices(below: samples) { try store(x.rows(source(sample), 1), in: all, row: sample) }
        return all
    }

    /// A conditioning of zeros, of the shapes of `c`.
    fileprivate func zeros(like c: Conditioning) throws(DiffError) -> Conditioning {
        var zeros = Conditioning(states: try filled(c.states.shape.count, with: 0).reshaped(c.states.shape))
        zeros.pooled = try c.pooled.map { (x) throws(DiffError) in try filled(x.shape.count, with: 0).reshaped(x.shape)
        }
        return zeros
    }

    /// The rows of `a`, then those of `b`, which must have the same tensors.
    fileprivate func joinedSamples(_ a: Conditioning, _ b: Conditioning) throws(DiffError) -> Conditioning {
        guard a.states.shape == b.states.shape else {
            throw DiffError(
                .shape,
                "the conditioning of the prompts is \(a.states.shape), that of the negative prompts \(b.states.shape)")
        }
        func joined(_ x: Tensor?, _ y: Tensor?) throws(DiffError) -> Tensor? {
            guard let x, let y else { return nil }
            return try joinedRows(x, y)
        }
        var both = Conditioning(states: try joinedRows(a.states, b.states))
        both.pooled = try joined(a.pooled, b.pooled)
        both.sizes = try joined(a.sizes, b.sizes)
        both.guidance = try joined(a.guidance, b.guidance)
        return both
    }

    private func joinedRows(_ a: Tensor, _ b: Tensor) throws(DiffError) -> Tensor {
        let n = a.shape[0]
        let all = try workspace.take(a.shape.replacingFirst(n &+ b.shape[0]))
        for row in Indices(below: n) { try store(a.rows(row, 1), in: all, row: row) }
        for row in Indices(below: b.shape[0]) { try store(b.rows(row, 1), in: all, row: n &+ row) }
        return all
    }
}
