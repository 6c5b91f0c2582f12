import DiffModels
import DiffTensor

/// What a request's prompts become: one side, or that of the negative prompts too.
final class AudioPrompts: ConditioningSource {
    /// What the caller gave in place of texts.
    struct Embeddings: Sendable {
        /// CLAP's vectors [n, width]; AudioLDM's prompt_embeds.
        var vectors: Tensor?
        /// What the language model makes, [n, tokens, width].
        var generated: Tensor?
        /// States [n, tokens, width].
        var states: Tensor?
        /// Which of them are seen.
        var mask: [[Bool]]
    }

    /// What is said of one side.
    enum Words: Sendable {
        case tokens([AudioConditioner.Tokens])
        case given(Embeddings)
    }

    private let conditioner: AudioConditioner
    private let positive: Words
    /// nil: there is no guidance.
    private let negative: Words?
    /// Sounds of each prompt.
    private let perPrompt: Int
    /// Vectors of the language model; of negative prompts zeros instead, as the original code has it.
    private let generated: Int, zerosNegatives: Bool

    init(
        _ conditioner: AudioConditioner, _ positive: Words, negative: Words?, perPrompt: Int, generated: Int,
        zerosNegatives: Bool
    ) {
        (self.conditioner, self.positive, self.negative) = (conditioner, positive, negative)
        (self.perPrompt, self.generated, self.zerosNegatives) = (perPrompt, generated, zerosNegatives)
    }

    var layouts: [SiteLayout] { conditioner.layouts }

    func requireFinite(_ run: Run) throws(DiffError) {
        for (side, name) in [(positive, ""), (negative ?? positive, "negative_")].each {
            guard case .given(let given) = side else { continue }
            if let vectors = given.vectors {
                let word = conditioner.form == .vector ? "prompt_embeds" : "clap_embeds"
                try run.requireFinite(vectors, "\(name)\(word)")
            }
            if let generated = given.generated { try run.requireFinite(generated, "\(name)generated_prompt_embeds") }
            if let states = given.states { try run.requireFinite(states, "\(name)prompt_embeds") }
        }
    }

    func conditioning(_ samples: Int, guided: Bool, _ run: Run) throws(DiffError) -> Conditioning {
        let first = try run.repeated(conditioned(positive, zeros: false, run), samples, perPrompt: perPrompt)
        guard guided, let negative else { return first }
        let second = try run.repeated(
            conditioned(negative, zeros: zerosNegatives, run), samples, perPrompt: perPrompt)
        return try run.joinedSamples(first, second)
    }

    private func conditioned(_ words: Words, zeros: Bool, _ run: Run) throws(DiffError) -> Conditioning {
        var given: Embeddings
        switch words {
        case .tokens(let tokens): given = try conditioner.embeddings(tokens, run)
        case .given(let embeddings): given = embeddings
        }
        guard case .sequence(let second) = conditioner.form else {
            guard let vectors = given.vectors else { throw DiffError(.internal, "no vectors of the prompts") }
            return try Conditioning(pooled: vectors)
        }
        if given.generated == nil {
            given.generated = try conditioner.generated(given, generated, zeros: zeros, run)
        }
        guard let generated = given.generated else { throw DiffError(.internal, "no sequence of the prompts") }
        var result = Conditioning(states: generated)
        guard second != nil, let states = given.states else { return result }
        (result.secondStates, result.secondMask) = (states, try run.flags(given.mask))
        return result
    }
}

extension AudioConditioner {
    /// What CLAP and T5 make of prompts.
    fileprivate func embeddings(_ tokens: [Tokens], _ run: Run) throws(DiffError) -> AudioPrompts.Embeddings {
        guard let clap else { throw missing ?? DiffError(.internal, "no text encoder") }
        var result = AudioPrompts.Embeddings(mask: [])
        result.vectors = try vectors(tokens, clap, run)
        guard let t5 else { return result }
        for row in tokens.each { result.mask.append(Indices(below: row.t5.count).map { $0 < row.seen }) }
        let states = try t5.source.encoder(run)(tokens.map { $0.t5 }, mask: result.mask, run)
        try run.requireFinite(states, "the states of the prompt (text_encoder_2: its weights)")
        result.states = states
        return result
    }

    /// [n, width]; each text by itself, so that none depends on how long another is.
    private func vectors(_ tokens: [Tokens], _ clap: CLAP, _ run: Run) throws(DiffError) -> Tensor {
        let encoder = try clap.source.encoder(run)
        let all = try run.workspace.take(Shape(tokens.count, encoder.configuration.projection))
        for (row, text) in tokens.numbered {
            try run.store(encoder([text.clap], run).vectors, in: all, row: row)
        }
        try run.requireFinite(all, "the vector of the prompt (text_encoder: its weights)")
        return all
    }

    /// What the language model makes of vectors and states, or as many zeros.
    fileprivate func generated(
        _ given: AudioPrompts.Embeddings, _ count: Int, zeros: Bool, _ run: Run
    ) throws(DiffError) -> Tensor {
        if let missing = missingModel { throw missing }
        guard let projection, let language, let vectors = given.vectors, let states = given.states else {
            throw DiffError(.internal, "no vectors or no states of the prompts")
        }
        guard !zeros else {
            return try run.filled(states.shape[0] &* count &* textWidth, with: 0).reshaped(
                Shape(states.shape[0], count, textWidth))
        }
        let sequence = try projection(vectors, states, mask: given.mask, run)
        let made = try language.encoder(run).continued(sequence.vectors, mask: sequence.mask, by: count, run)
        try run.requireFinite(made, "what the language model makes of the prompt (its weights)")
        return made
    }
}

extension Run {
    /// 1 for true, 0 for false: f32 [rows, length].
    fileprivate func flags(_ mask: [[Bool]]) throws(DiffError) -> Tensor {
        var values: [Float] = []
        for row in mask.each { for flag in row.each { values.append(flag ? 1 : 0) } }
        return try tensor(values, Shape(mask.count, mask.first?.count ?? 0))
    }
}
