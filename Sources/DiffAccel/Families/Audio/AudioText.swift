import DiffCheckpoint
import DiffModels
import DiffTensor

/// Opens the text side of a pipeline of sounds.
enum AudioText {
    /// What makes conditionings for `network`; adds the encoders' elements to `elements`. Parts may be absent: requests then bring what they
    /// would have made. Throws `incompatible` when widths do not fit, and what opening the parts throws.
    static func conditioner(
        _ kind: AudioKind, _ parts: StableDiffusionParts, _ network: UNet, _ elements: inout Int
    ) throws(DiffError) -> AudioConditioner {
        let clap = try clap(parts, &elements)
        guard kind == .audioldm2 else {
            if let width = clap?.encoder.configuration.projection {
                try fits(width, network.pooledWidth, "text_encoder")
            }
            return AudioConditioner(.vector, clap: clap, vectorWidth: network.pooledWidth ?? 0)
        }
        let phonemes = try phonemes(parts)
        let t5 = phonemes == nil ? try t5(parts, &elements) : nil
        let projection = try parts.part("projection_model", AudioProjectionConfiguration.rules).map {
            (part) throws(DiffError) in
            elements = Checked.sum(elements, part.parameters)
            return try AudioProjection(AudioProjectionConfiguration(part.config), part.weights)
        }
        let language = try language(parts, &elements)
        if let width = language?.outline.width { try fits(width, network.textWidth, "language_model") }
        if let width = t5?.encoder.width { try fits(width, network.secondTextWidth, "text_encoder_2") }
        if let c = projection?.configuration {
            try fits(clap?.encoder.configuration.projection ?? c.vectorWidth, c.vectorWidth, "text_encoder")
            try fits(t5?.encoder.width ?? c.stateWidth, c.stateWidth, "text_encoder_2")
            try fits(language?.outline.width ?? c.width, c.width, "language_model")
        }
        return AudioConditioner(
            .sequence(second: network.secondTextWidth), clap: clap, t5: t5, projection: projection,
            language: language, generated: try generated(parts, language), phonemes: phonemes,
            vectorWidth: projection?.configuration.vectorWidth ?? 0, textWidth: network.textWidth)
    }

    /// Throws `incompatible` unless what `part` makes is as wide as what takes it.
    private static func fits(_ width: Int, _ wanted: Int?, _ part: String) throws(DiffError) {
        guard let wanted, wanted != width else { return }
        throw DiffError(
            .incompatible,
            "\(part) gives states of width \(width), what reads them takes \(wanted): take all parts from one checkpoint"
        )
    }

    private static func clap(
        _ parts: StableDiffusionParts, _ elements: inout Int
    ) throws(DiffError) -> AudioConditioner.CLAP? {
        let name = "text_encoder"
        guard let part = try parts.part(name, CLAPTextConfiguration.rules) else { return nil }
        let c = try CLAPTextConfiguration(part.config)
        elements = Checked.sum(elements, part.parameters)
        return AudioConditioner.CLAP(
            source: try parts.source(part) { (weights) throws(DiffError) in try CLAPTextEncoder(c, weights) },
            tokenizer: try parts.tokenizer("tokenizer", for: name, vocabulary: c.vocabulary))
    }

    private static func t5(
        _ parts: StableDiffusionParts, _ elements: inout Int
    ) throws(DiffError) -> AudioConditioner.T5? {
        let name = "text_encoder_2"
        guard let part = try parts.part(name, T5Configuration.rules) else { return nil }
        let c = try T5Configuration(part.config)
        elements = Checked.sum(elements, part.parameters)
        return AudioConditioner.T5(
            source: try parts.source(part) { (weights) throws(DiffError) in try T5Encoder(c, weights) },
            tokenizer: try parts.tokenizer("tokenizer_2", for: name, vocabulary: c.vocabulary))
    }

    private static func language(
        _ parts: StableDiffusionParts, _ elements: inout Int
    ) throws(DiffError) -> EncoderSource<GPT2>? {
        guard let part = try parts.part("language_model", GPT2Configuration.rules) else { return nil }
        let c = try GPT2Configuration(part.config)
        elements = Checked.sum(elements, part.parameters)
        return try parts.source(part) { (weights) throws(DiffError) in try GPT2(c, weights) }
    }

    /// How many vectors the language model makes: its config, else the file beside it, else as the published models have it.
    private static func generated(
        _ parts: StableDiffusionParts, _ language: EncoderSource<GPT2>?
    ) throws(DiffError) -> Int {
        let published = 8
        if let count = language?.outline.configuration.generated { return count }
        let name = "generation_config.json"
        guard language != nil, let json = try parts.opened.checkpoint.json(name, in: "language_model") else {
            return published
        }
        let file = try JSONObject(json, source: "language_model/\(name)")
        return try file.integer("max_new_tokens", in: 1...1 << 16, default: published)
    }

    /// What the second encoder of a model of speech is called, which reads phonemes; nil: it reads texts.
    private static func phonemes(_ parts: StableDiffusionParts) throws(DiffError) -> String? {
        let name = "text_encoder_2"
        let index = parts.opened.config.members[name]
        if case .array(let words)? = index, case .string(let found)? = words.last, found.hasPrefix("Vits") {
            return found
        }
        guard try parts.has(name) else { return nil }
        let (config, _) = try parts.contents(name)
        return config.isOf(type: "vits", classes: ["VitsModel"]) ? "VitsModel" : nil
    }
}
