import DiffCheckpoint
import DiffModels
import DiffTensor

/// Opens the text encoders of a pipeline.
enum StableDiffusionText {
    /// What makes conditionings for `network`; adds the encoders' elements to `elements`. Throws `incompatible` when their widths do not fit
    /// the network, and what opening the parts throws.
    static func conditioner(
        _ kind: StableDiffusionKind, _ parts: StableDiffusionParts, _ network: any ConditionedDenoiser,
        _ elements: inout Int
    ) throws(DiffError) -> TextConditioner {
        var encoders: [PromptEncoderPart] = []
        for suffix in (kind == .sd ? [""] : ["", "_2"]).each {
            guard let part = try clip(suffix, parts, &elements) else { continue }
            // A file in the original layout may leave out a projection that changes nothing.
            let isPooled = kind == .sd3 || kind == .sdxl && suffix == "_2"
            guard !isPooled || part.encoder.isProjected || parts.opened.singleFile != nil else {
                throw DiffError(
                    .incompatible,
                    "\(part.name) has no text_projection, which gives the network its pooled text: take the "
                        + "CLIPTextModelWithProjection of the checkpoint")
            }
            encoders.append(part)
        }
        var t5: TextConditioner.T5?
        let form: TextConditioner.Form
        switch kind {
        case .sd: form = .single
        case .sdxl: form = .pair
        case .sd3:
            form = .triple(width: network.textWidth)
            if let part = try parts.part("text_encoder_3", T5Configuration.rules) {
                let c = try T5Configuration(part.config)
                t5 = TextConditioner.T5(
                    source: try parts.source(part) { (weights) throws(DiffError) in try T5Encoder(c, weights) },
                    tokenizer: try parts.tokenizer("tokenizer_3", for: "text_encoder_3"))
                elements = Checked.sum(elements, part.parameters)
            }
        }
        let zeros = try parts.opened.config.bool("force_zeros_for_empty_prompt", default: kind == .sdxl)
        let conditioner = TextConditioner(form, encoders, t5: t5, zerosNegatives: kind == .sdxl && zeros)
        try check(conditioner, network)
        return conditioner
    }

    private static func clip(
        _ suffix: String, _ parts: StableDiffusionParts, _ elements: inout Int
    ) throws(DiffError) -> PromptEncoderPart? {
        let name = "text_encoder\(suffix)"
        guard let part = try parts.part(name, CLIPTextConfiguration.rules) else { return nil }
        let c = try CLIPTextConfiguration(part.config)
        let source = try parts.source(part) { (weights) throws(DiffError) in try CLIPTextEncoder(c, weights) }
        let encoder = source.outline
        let tokenizer = try parts.tokenizer(
            "tokenizer\(suffix)", for: name, vocabulary: encoder.configuration.vocabulary)
        elements = Checked.sum(elements, part.parameters)
        return PromptEncoderPart(
            name: name, source: source, tokenizer: tokenizer,
            length: min(tokenizer.maxLength ?? encoder.configuration.positions, encoder.configuration.positions))
    }

    private static func check(
        _ conditioner: TextConditioner, _ network: any ConditionedDenoiser
    ) throws(DiffError) {
        guard !conditioner.parts.isEmpty else { return }
        let widths = conditioner.widths
        guard widths.states == network.textWidth, network.pooledWidth == nil || widths.pooled == network.pooledWidth
        else {
            throw DiffError(
                .incompatible,
                "the text encoders give states of width \(widths.states) and pooled ones of \(widths.pooled ?? 0), the network takes "
                    + "\(network.textWidth) and \(network.pooledWidth ?? 0): take all parts from one checkpoint")
        }
        if let t5 = conditioner.t5, t5.encoder.configuration.width != network.textWidth {
            throw DiffError(
                .incompatible,
                "text_encoder_3 gives states of width \(t5.encoder.configuration.width), the network takes \(network.textWidth)"
            )
        }
    }
}
