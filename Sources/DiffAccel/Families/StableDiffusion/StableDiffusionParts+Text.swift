import DiffCheckpoint
import DiffModels
import DiffTensor

/// What opening text encoders of any pipeline needs.
extension StableDiffusionParts {
    /// The encoder that `make` makes of the weights of `part`: now, or each time that it is wanted, as the model's settings say. Of one that
    /// another rank has, the outline.
    func source<Encoder: AnyObject & Sendable>(
        _ part: Part, _ make: @escaping @Sendable (Weights) throws(DiffError) -> Encoder
    ) throws(DiffError) -> EncoderSource<Encoder> {
        let isLoaded = opened.options.companions.encoders
        guard opened.options.settings.textEncoders == .onDemand || !isLoaded else {
            return EncoderSource(resident: try make(part.weights))
        }
        let (table, loading, name) = (part.weights.table, part.weights.options, part.name)
        var dry = loading
        dry.dryRun = true
        return EncoderSource(outline: try make(Weights(table, options: dry))) { () throws(DiffError) in
            guard isLoaded else { throw DiffError(.internal, "\(name) was not loaded: rank 0 encodes for all") }
            return try make(Weights(table, options: loading))
        }
    }

    /// The tokenizer in the folder `name` for the part `encoder`, which knows `vocabulary` tokens. Throws `io` when there is none,
    /// `incompatible` when it has more.
    func tokenizer(_ name: String, for encoder: String, vocabulary: Int) throws(DiffError) -> PromptTokenizer {
        let tokenizer = try tokenizer(name, for: encoder)
        guard tokenizer.tokenizer.vocabulary <= vocabulary else {
            throw DiffError(
                .incompatible,
                "\(name) has \(tokenizer.tokenizer.vocabulary) tokens, \(encoder) knows \(vocabulary): take both from one checkpoint"
            )
        }
        return tokenizer
    }
}
