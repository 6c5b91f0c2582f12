import DiffModels
import DiffTensor

/// The text encoders of a pipeline of sounds, and how what they make becomes one conditioning.
///
/// Immutable; any number of runs may use it at once. Parts may be absent: requests then bring what these would have made.
final class AudioConditioner: Sendable {
    /// What the network is told.
    enum Form: Sendable, Equatable {
        /// CLAP's vector: AudioLDM.
        case vector
        /// What the language model makes, and states of this width where it reads them too: AudioLDM 2.
        case sequence(second: Int?)
    }

    /// CLAP's tower for texts.
    struct CLAP: Sendable {
        let source: EncoderSource<CLAPTextEncoder>
        let tokenizer: PromptTokenizer
        /// The encoder without its weights.
        var encoder: CLAPTextEncoder { source.outline }
        /// Tokens that it reads.
        var length: Int {
            let most = encoder.configuration.maxTokens
            return min(tokenizer.maxLength ?? most, most)
        }
    }

    /// T5 beside it.
    struct T5: Sendable {
        let source: EncoderSource<T5Encoder>
        let tokenizer: PromptTokenizer
        /// The encoder without its weights.
        var encoder: T5Encoder { source.outline }
    }

    /// The tokens of one prompt.
    struct Tokens: Sendable, Equatable {
        /// CLAP's, without padding: a text alone has the vector that it has with.
        let clap: [Int]
        /// T5's, padded to a length that all prompts share, and how many of them are no padding.
        let t5: [Int], seen: Int
    }

    let form: Form
    let clap: CLAP?
    let t5: T5?
    let projection: AudioProjection?
    let language: EncoderSource<GPT2>?
    /// Vectors that the language model makes where a request says nothing.
    let generated: Int
    /// The class of an encoder of phonemes, which is not run; nil: the pipeline has none.
    let phonemes: String?
    /// Width of CLAP's vectors, and of what the network reads first.
    let vectorWidth: Int, textWidth: Int

    init(
        _ form: Form, clap: CLAP?, t5: T5? = nil, projection: AudioProjection? = nil,
        language: EncoderSource<GPT2>? = nil, generated: Int = 8, phonemes: String? = nil, vectorWidth: Int,
        textWidth: Int = 0
    ) {
        (self.form, self.clap, self.t5, self.projection, self.language) = (form, clap, t5, projection, language)
        (self.generated, self.phonemes) = (generated, phonemes)
        (self.vectorWidth, self.textWidth) = (vectorWidth, textWidth)
    }

    /// Sites of all encoders.
    var layouts: [SiteLayout] {
        var layouts: [SiteLayout] = []
        if let clap { layouts.append(clap.encoder.layout) }
        if let t5 { layouts.append(t5.encoder.layout) }
        if let language { layouts.append(language.outline.layout) }
        return layouts
    }

    /// Names of the encoders that are there.
    var names: [String] {
        var names: [String] = []
        if clap != nil { names.append("text_encoder") }
        if t5 != nil { names.append("text_encoder_2") }
        if projection != nil { names.append("projection_model") }
        if language != nil { names.append("language_model") }
        return names
    }

    /// What is missing to read texts, as an error; nil: nothing.
    var missing: DiffError? {
        if let phonemes {
            return DiffError(
                .unsupported,
                "text_encoder_2 is a \(phonemes), which reads phonemes and is not run here: give generated_prompt_embeds, or clap_embeds and its states as prompt_embeds"
            )
        }
        guard case .sequence = form else { return clap == nil ? absent("text_encoder") : nil }
        if clap == nil { return absent("text_encoder") }
        if t5 == nil { return absent("text_encoder_2") }
        return missingModel
    }

    /// What is missing to make a sequence of vectors and states.
    var missingModel: DiffError? {
        if projection == nil { return absent("projection_model") }
        return language == nil ? absent("language_model") : nil
    }

    private func absent(_ part: String) -> DiffError {
        let instead = form == .vector ? "prompt_embeds" : "prompt_embeds and generated_prompt_embeds"
        return DiffError(
            .unsupported,
            "the checkpoint has no \(part), which texts need: give \(instead), or open the whole checkpoint")
    }
}
