import DiffModels
import DiffTensor

extension AudioConditioner {
    /// The most tokens of T5: what the tokenizer says, as far as the language model has positions for them. Throws `invalidArgument` when it has
    /// none.
    private func stateLength(_ t5: T5, generated: Int) throws(DiffError) -> Int {
        let most = min(t5.tokenizer.maxLength ?? T5Encoder.maxTokens, projection?.configuration.positions ?? .max)
        guard let positions = language?.outline.configuration.positions else { return most }
        let room = positions &- AudioProjection.others &- generated
        guard room > t5.tokenizer.specials else {
            throw DiffError(
                .invalidArgument,
                "request: max_new_tokens \(generated) leaves no room for a text among the language model's \(positions) positions: ask for fewer"
            )
        }
        return min(most, room)
    }

    /// The tokens of `texts`, those of T5 padded to the longest, or to `length` where one is given, as for negative prompts. The log is told of
    /// what does not fit. Throws what tokenizers throw, and `unsupported` where parts are missing.
    func tokens(
        _ texts: [String], length: Int?, generated: Int, negative: Bool
    ) throws(DiffError) -> [Tokens] {
        if let missing { throw missing }
        guard let clap else { return [] }
        var (vectors, states): ([[Int]], [PromptTokenizer.Row]) = ([], [])
        // AudioLDM's pipeline cuts negative prompts to as many tokens as its vectors have elements.
        let most = form == .vector && negative ? min(clap.length, vectorWidth) : clap.length
        for text in texts.each {
            let row = try row(text, clap.tokenizer, most, "text_encoder")
            vectors.append(row.ids)
            guard let t5 else { continue }
            let most = if let length { length } else { try stateLength(t5, generated: generated) }
            states.append(try self.row(text, t5.tokenizer, most, "text_encoder_2"))
        }
        let longest = length ?? states.each.reduce(0) { max($0, $1.count) }
        var tokens: [Tokens] = []
        for (index, ids) in vectors.numbered {
            var padded = states.at(index)?.ids ?? []
            let seen = padded.count
            while let t5, padded.count < longest { padded.append(t5.tokenizer.padding) }
            tokens.append(Tokens(clap: ids, t5: padded, seen: seen))
        }
        return tokens
    }

    private func row(
        _ text: String, _ tokenizer: PromptTokenizer, _ length: Int, _ name: String
    ) throws(DiffError) -> PromptTokenizer.Row {
        let row = try tokenizer.row(text, length: length, pads: false)
        if let cut = row.cut {
            Log.write(
                .warning,
                "\(name) reads \(length) tokens: of a prompt the bytes from \(cut.lowerBound) on are left out")
        }
        return row
    }
}
