import DiffModels
import DiffTensor

/// Where the conditioning of a run comes from: one conformance for each way in which prompts are read.
protocol ConditioningSource: Sendable {
    /// Sites of the encoders.
    var layouts: [SiteLayout] { get }
    /// Throws `notFinite` when tensors of the caller hold NaN or infinity.
    func requireFinite(_ run: Run) throws(DiffError)
    /// The conditioning of `samples` rows; with guidance those of the negative prompts follow.
    func conditioning(_ samples: Int, guided: Bool, _ run: Run) throws(DiffError) -> Conditioning
}

/// What a request's prompts become, row for row.
final class PromptConditioning: ConditioningSource {
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

    func requireFinite(_ run: Run) throws(DiffError) {
        guard case .embeddings(let given) = words else { return }
        try run.requireFinite(given.states, "prompt_embeds")
        if let pooled = given.pooled { try run.requireFinite(pooled, "pooled_prompt_embeds") }
        if let states = given.negativeStates { try run.requireFinite(states, "negative_prompt_embeds") }
        if let pooled = given.negativePooled { try run.requireFinite(pooled, "negative_pooled_prompt_embeds") }
    }

    var layouts: [SiteLayout] { encoder.layouts }

    func conditioning(_ samples: Int, guided: Bool, _ run: Run) throws(DiffError) -> Conditioning {
        var (positive, negative) = try encoded(guided: guided, run)
        positive = try run.repeated(positive, samples, perPrompt: perPrompt)
        negative = try negative.map { (one) throws(DiffError) in
            try run.repeated(one, samples, perPrompt: perPrompt)
        }
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
