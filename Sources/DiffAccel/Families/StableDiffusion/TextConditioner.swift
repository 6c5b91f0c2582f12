import DiffModels
import DiffTensor

/// The tokens of one prompt, a list for each text encoder.
struct PromptTokens: Sendable, Equatable {
    /// Padded and truncated to what each encoder reads.
    var lists: [[Int]]
}

/// One of a pipeline's CLIP encoders with what makes tokens for it.
struct PromptEncoderPart: Sendable {
    /// The part's folder, such as `text_encoder`.
    let name: String
    let source: EncoderSource<CLIPTextEncoder>
    let tokenizer: PromptTokenizer
    /// The encoder without its weights: for sizes and dry runs.
    var encoder: CLIPTextEncoder { source.outline }
    /// Tokens that it reads, padding included.
    let length: Int
}

/// The text encoders of a pipeline, and how what they make becomes one conditioning.
///
/// Immutable; any number of runs may use it at once.
final class TextConditioner: Sendable {
    /// How the encoders' states are put together.
    enum Form: Sendable {
        /// The states of the last layer after the final norm: Stable Diffusion 1 and 2.
        case single
        /// The states before the last layer of all encoders side by side, and the pooled state of the last encoder: SDXL.
        case pair
        /// The same with the pooled states of both, widened to T5's width and followed by T5's states: SD3.
        case triple(width: Int)
    }

    /// T5 beside the CLIP encoders.
    struct T5: Sendable {
        let source: EncoderSource<T5Encoder>
        let tokenizer: PromptTokenizer
        /// The encoder without its weights.
        var encoder: T5Encoder { source.outline }
    }

    let form: Form
    let parts: [PromptEncoderPart]
    let t5: T5?
    /// Whether a negative prompt that was not given is zeros rather than an empty text (`force_zeros_for_empty_prompt`).
    let zerosNegatives: Bool

    init(_ form: Form, _ parts: [PromptEncoderPart], t5: T5? = nil, zerosNegatives: Bool = false) {
        (self.form, self.parts, self.t5, self.zerosNegatives) = (form, parts, t5, zerosNegatives)
    }

    /// Text encoders that a prompt may have a text of its own for; those that are missing in the checkpoint count in SD3.
    var encoders: Int { if case .triple = form { 3 } else { max(1, parts.count) } }

    /// Sites of all encoders.
    var layouts: [SiteLayout] {
        var layouts: [SiteLayout] = []
        for part in parts.each { layouts.append(part.encoder.layout) }
        if let t5 { layouts.append(t5.encoder.layout) }
        return layouts
    }

    /// Layers of the encoder whose last ones may be left out.
    var textLayers: Int { parts.first?.encoder.configuration.layers ?? 1 }

    /// Width of the states, and of the pooled state; nil: none is made.
    var widths: (states: Int, pooled: Int?) {
        let together = parts.each.reduce(0) { Checked.sum($0, $1.encoder.configuration.width) }
        switch form {
        case .single: return (together, nil)
        case .pair: return (together, parts.last?.encoder.pooledWidth)
        case .triple(let width):
            return (width, parts.each.reduce(0) { Checked.sum($0, $1.encoder.pooledWidth) })
        }
    }

    // MARK: Tokens

    /// The tokens of row `row` of `texts`, or of its negative prompt; `textLength` is T5's. Throws what tokenizers throw. The log is told of
    /// what does not fit.
    func tokens(
        _ texts: PromptTexts, _ row: Int, negative: Bool, textLength: Int
    ) throws(DiffError) -> PromptTokens {
        var lists: [[Int]] = []
        for (index, part) in parts.numbered {
            let text = negative ? texts.negativeText(index, row) : texts.text(index, row)
            // In SD3 the first tokenizer's length is that of both.
            let length = parts.first.map { max(1, min($0.length, part.encoder.configuration.positions)) } ?? part.length
            lists.append(try tokens(text, part.tokenizer, length, part.name))
        }
        if let t5 {
            let text = negative ? texts.negativeText(2, row) : texts.text(2, row)
            lists.append(try tokens(text, t5.tokenizer, textLength, "text_encoder_3"))
        }
        return PromptTokens(lists: lists)
    }

    private func tokens(
        _ text: String, _ tokenizer: PromptTokenizer, _ length: Int, _ name: String
    ) throws(DiffError) -> [Int] {
        let row = try tokenizer.row(text, length: length)
        if let cut = row.cut {
            Log.write(
                .warning,
                "\(name) reads \(length) tokens: of a prompt the bytes from \(cut.lowerBound) on are left out")
        }
        return row.ids
    }

    // MARK: States

    /// The conditioning of `prompts`, a row for each; `clipSkip` layers are left out at the end of the CLIP encoders.
    func conditioning(
        _ prompts: [PromptTokens], clipSkip: Int?, textLength: Int, _ run: Run
    ) throws(DiffError) -> Conditioning {
        let skip = clipSkip ?? 0
        var (states, pooled): ([Tensor], [Tensor]) = ([], [])
        for (index, part) in parts.numbered {
            let ids = prompts.map { $0.lists.at(index) ?? [] }
            let output = try encoded(ids, part, isLast: index &+ 1 == parts.count, skip, run)
            try run.requireFinite(output.states, "the states of the prompt (\(part.name): its weights)")
            states.append(output.states)
            if let one = output.pooled {
                try run.requireFinite(one, "the pooled state of the prompt (\(part.name): its weights)")
                pooled.append(one)
            }
        }
        guard let joined = try run.joinedFeatures(states) else {
            throw DiffError(.unsupported, "the checkpoint has no text encoder; give prompt_embeds")
        }
        var result = Conditioning(states: joined)
        result.pooled = try run.joinedFeatures(pooled)
        if case .triple(let width) = form {
            let more = try t5States(prompts, width, textLength, run)
            result.states = try run.joinedTokens(run.widenedFeatures(joined, to: width), more)
        }
        return result
    }

    private func encoded(
        _ ids: [[Int]], _ part: PromptEncoderPart, isLast: Bool, _ skip: Int, _ run: Run
    ) throws(DiffError) -> (states: Tensor, pooled: Tensor?) {
        let encoder = try part.source.encoder(run)
        let layers = encoder.configuration.layers
        switch form {
        case .single:
            let output = try encoder(ids, hidden: max(0, layers &- skip), pools: false, run)
            return (try encoder.normalised(output.states, run), nil)
        case .pair, .triple:
            let isPooled = if case .triple = form { true } else { isLast }
            let output = try encoder(ids, hidden: max(0, layers &- 1 &- skip), pools: isPooled, run)
            return (output.states, output.pooled)
        }
    }

    /// T5's states, or as many zeros where the checkpoint has no T5: published models are meant to work without it.
    private func t5States(
        _ prompts: [PromptTokens], _ width: Int, _ length: Int, _ run: Run
    ) throws(DiffError) -> Tensor {
        guard let t5 else {
            return try run.filled(prompts.count &* length &* width, with: 0).reshaped(
                Shape(prompts.count, length, width))
        }
        let encoder = try t5.source.encoder(run)
        let states = try encoder(prompts.map { $0.lists.last ?? [] }, mask: nil, run)
        try run.requireFinite(states, "the states of the prompt (text_encoder_3: its weights)")
        return states
    }
}

extension Run {
    /// Tensors of equal extents but the last side by side along it; nil for none.
    fileprivate func joinedFeatures(_ parts: [Tensor]) throws(DiffError) -> Tensor? {
        guard var all = parts.first else { return nil }
        for part in parts.dropFirst() {
            let (rows, a, b) = (all.shape.rows, all.shape.last, part.shape.last)
            guard part.shape.rows == rows else {
                throw DiffError(.shape, "states \(all.shape) beside states \(part.shape)")
            }
            // Rows of one feature a token.
            let joined = try joinedTokens(
                all.reshaped(Shape(rows, a, 1)), part.reshaped(Shape(rows, b, 1)))
            all = try joined.reshaped(all.shape.replacingLast(a &+ b))
        }
        return all
    }

    /// `x` with zeros after its features, up to `width`.
    fileprivate func widenedFeatures(_ x: Tensor, to width: Int) throws(DiffError) -> Tensor {
        let missing = width &- x.shape.last
        guard missing > 0 else { return x }
        let zeros = try filled(x.shape.rows &* missing, with: 0).reshaped(x.shape.replacingLast(missing))
        return try joinedFeatures([x, zeros]) ?? x
    }
}
