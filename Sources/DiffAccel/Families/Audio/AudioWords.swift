import DiffCheckpoint
import DiffModels
import DiffTensor

/// What a request says of its sounds: texts as tokens, or what these would have become.
struct AudioWords {
    private let positive: AudioPrompts.Words
    private let negative: AudioPrompts.Words?
    /// Prompts.
    let count: Int
    private let zerosNegatives: Bool
    private let generated: Int

    /// Throws `invalidArgument`, `shape`, and `unsupported` where a part is missing that would have to read.
    init(
        _ reader: RequestReader, _ request: AudioRequest, _ conditioner: AudioConditioner, guided: Bool
    ) throws(DiffError) {
        let texts = request.prompts
        let generated = request.generated ?? conditioner.generated
        let given = try conditioner.given(reader, "")
        let givenNegative = try conditioner.given(reader, "negative_")
        guard (given == nil) != (texts.count == 0) else {
            throw DiffError(
                .invalidArgument,
                given == nil
                    ? "request: prompt or prompt_embeds is needed"
                    : "request: prompt and embeddings are both given; one of them says all")
        }
        guard givenNegative == nil || !texts.hasNegative else {
            throw DiffError(
                .invalidArgument,
                "request: negative_prompt and negative embeddings are both given; one of them says all")
        }
        var length: Int?
        if let given {
            (positive, count, length) = (.given(given), given.count, given.states?.shape[1])
        } else {
            let all = Indices(below: texts.count).map { texts.text(0, $0) }
            let tokens = try conditioner.tokens(all, length: nil, generated: generated, negative: false)
            (positive, count, length) = (.tokens(tokens), tokens.count, tokens.first?.t5.count)
        }
        (self.generated, zerosNegatives) = (generated, request.unconditional == .zeros && !texts.hasNegative)
        guard guided else {
            negative = nil
            return
        }
        if let givenNegative {
            try Self.match(givenNegative, count, length)
            negative = .given(givenNegative)
            return
        }
        if given != nil, let missing = conditioner.missing {
            throw DiffError(
                missing.code,
                "request: guidance needs the same of the negative prompt (negative_prompt_embeds and so on), or a guidance of 1; an empty text cannot be read: \(missing.message)"
            )
        }
        let several = min(texts.negative.each.reduce(1) { max($0, $1?.count ?? 1) }, count)
        let all = Indices(below: several).map { texts.negativeText(0, $0) }
        negative = .tokens(
            try conditioner.tokens(all, length: length ?? 1, generated: generated, negative: true))
    }

    /// Throws `shape` unless negative embeddings are those of as many prompts, or of one, of as many tokens.
    private static func match(_ negative: AudioPrompts.Embeddings, _ count: Int, _ length: Int?) throws(DiffError) {
        guard negative.count == count || negative.count == 1 else {
            throw DiffError(.shape, "request: negative embeddings of \(negative.count) prompts beside \(count)")
        }
        guard let states = negative.states, let length, states.shape[1] != length else { return }
        throw DiffError(
            .shape, "request: negative_prompt_embeds are \(states.shape), those of the prompt have \(length) tokens")
    }

    /// What becomes of it when it is run.
    func prompts(_ conditioner: AudioConditioner, _ request: AudioRequest) -> AudioPrompts {
        AudioPrompts(
            conditioner, positive, negative: negative, perPrompt: request.perPrompt, generated: generated,
            zerosNegatives: zerosNegatives)
    }
}

extension AudioPrompts.Embeddings {
    /// Prompts.
    var count: Int { (generated ?? vectors ?? states)?.shape[0] ?? 0 }
}

extension AudioConditioner {
    /// The embeddings of a request whose names begin with `prefix`; nil: there are none. Throws `shape` for others than the model takes,
    /// `invalidArgument` for a part of them alone, `unsupported` where the model has no part that makes the rest.
    fileprivate func given(_ reader: RequestReader, _ prefix: String) throws(DiffError) -> AudioPrompts.Embeddings? {
        let states = reader.floats("\(prefix)prompt_embeds")
        guard case .sequence(let second) = form else {
            guard let states else { return nil }
            try require(states, "\(prefix)prompt_embeds", [nil, vectorWidth])
            return AudioPrompts.Embeddings(vectors: states, mask: [])
        }
        let generated = reader.floats("\(prefix)generated_prompt_embeds")
        let vectors = reader.floats("\(prefix)clap_embeds")
        let mask = reader.floats("\(prefix)attention_mask")
        guard states != nil || generated != nil || vectors != nil || mask != nil else { return nil }
        let width = second ?? projection?.configuration.stateWidth
        guard (generated != nil) != (vectors != nil), states != nil || second == nil && generated != nil else {
            throw DiffError(
                .invalidArgument,
                "request: \(prefix)prompt_embeds go with either \(prefix)generated_prompt_embeds or \(prefix)clap_embeds, and these with them"
            )
        }
        if vectors != nil, let missing = missingModel { throw missing }
        if let generated { try require(generated, "\(prefix)generated_prompt_embeds", [nil, nil, textWidth]) }
        let count = (generated ?? vectors)?.shape[0]
        if let vectors { try require(vectors, "\(prefix)clap_embeds", [count, vectorWidth]) }
        if let states { try require(states, "\(prefix)prompt_embeds", [count, nil, width]) }
        return AudioPrompts.Embeddings(
            vectors: vectors, generated: generated, states: states,
            mask: try seen(mask, states, "\(prefix)attention_mask"))
    }

    private func require(_ x: Tensor, _ name: String, _ dims: [Int?]) throws(DiffError) {
        var fits = x.shape.rank == dims.count && x.shape.count > 0
        for (axis, extent) in dims.numbered where fits { fits = extent == nil || x.shape[axis] == extent }
        guard !fits else { return }
        let wanted = dims.map { $0.map { "\($0)" } ?? "n" }.joined(separator: ", ")
        throw DiffError(.shape, "request: the tensor \"\(name)\" is \(x.shape), expected [\(wanted)]")
    }

    /// Which of `states` are seen: as the mask says, without one all.
    private func seen(_ mask: Tensor?, _ states: Tensor?, _ name: String) throws(DiffError) -> [[Bool]] {
        guard let states else {
            guard mask == nil else {
                throw DiffError(.invalidArgument, "request: \(name) is about states that are not given")
            }
            return []
        }
        let (rows, length) = (states.shape[0], states.shape[1])
        guard let mask else {
            return Indices(below: rows).map { _ in [Bool](repeating: true, count: max(0, length)) }
        }
        try require(mask, name, [rows, length])
        let values = mask.array
        var seen: [[Bool]] = []
        for row in Indices(below: rows) {
            var flags: [Bool] = []
            for token in Indices(below: length) {
                let value = values.at(row &* length &+ token) ?? 1
                guard value == 0 || value == 1 else {
                    throw DiffError(.invalidArgument, "request: \(name) must be 0 or 1, found \(value)")
                }
                flags.append(value == 1)
            }
            seen.append(flags)
        }
        return seen
    }
}
