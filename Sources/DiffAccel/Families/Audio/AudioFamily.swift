import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// AudioLDM and AudioLDM 2: pipelines that make the sounds that a prompt describes.
struct AudioFamily: ModelFamily {
    static let name = "audioldm"
    static let isPipeline = true
    static let forwardNames = (
        inputs: [
            "encoder_hidden_states", "encoder_hidden_states_1", "encoder_attention_mask_1", "class_labels", "sample",
            "timestep",
        ], outputs: ["out"]
    )
    static let rules = FileRules.audio

    let sounds: AudioSampling
    private let kind: AudioKind
    private let unused: [String]
    /// Elements of all parts.
    let parameters: Int?

    static func recognises(_ config: JSONObject) -> Bool {
        guard case .string(let name)? = config.value("_class_name") else { return false }
        return AudioKind(pipeline: name) != nil
    }

    init(_ opened: Opened) throws(DiffError) {
        let kind = try AudioKind(opened)
        try opened.options.settings.refuse(["lora", "t5", "prediction_type"], of: Self.name)
        let parts = try StableDiffusionParts(opened)
        var elements = 0
        let audio = try AudioParts(kind, parts, &elements)
        let conditioner = try AudioText.conditioner(kind, parts, audio.network, &elements)
        sounds = AudioSampling(AudioPipeline(kind, audio, conditioner))
        var unused = try parts.unused()
        for name in (conditioner.clap?.encoder.unused ?? []).each { unused.append("text_encoder/\(name)") }
        if conditioner.phonemes != nil, try parts.has("text_encoder_2") { unused.append("text_encoder_2") }
        (self.kind, self.unused, parameters) = (kind, unused, elements)
    }

    var layouts: [SiteLayout] { [sounds.pipeline.audio.network.layout] }
    var networkIdentity: ObjectIdentifier { ObjectIdentifier(sounds.pipeline.audio.network) }
    var sampling: (any FamilySampling)? { sounds }

    var description: [String: JSON] {
        let (audio, text) = (sounds.pipeline.audio, sounds.pipeline.conditioner)
        return [
            "input": .array([
                .integer(audio.network.channels), .integer(audio.network.side), .integer(audio.bands),
            ]),
            "kind": .string(kind.rawValue), "seconds": .number(sounds.pipeline.seconds),
            "sample_rate": .integer(audio.rates.sampleRate), "mel_bins": .integer(audio.vocoder.configuration.bins),
            "sampler": .string(audio.solver.standard),
            "samplers": .array(type(of: audio.solver).samplers.map { .string($0) }),
            "prediction_type": .string(audio.solver.prediction), "guidance": .number(kind.guidance),
            "text_encoders": .array(text.names.map { .string($0) }), "reads_texts": .bool(text.missing == nil),
            "decoder": .string(AutoencoderFamily.name), "vocoder": .string(audio.vocoder.layout.family),
            "unused_parts": .array(unused.map { .string($0) }),
        ]
    }

    func forward(_ inputs: NamedInputs, wanted: [String], _ run: Run) throws(DiffError) -> [String: Tensor] {
        if let other = wanted.each.first(where: { $0 != "out" }) {
            throw DiffError(.invalidArgument, "no output \"\(other)\"; a pipeline's network has out")
        }
        let network = sounds.pipeline.audio.network
        var told: Conditioning
        if kind == .audioldm {
            told = try Conditioning(pooled: inputs.tensor("class_labels"))
        } else {
            told = Conditioning(states: try inputs.tensor("encoder_hidden_states"))
            told.secondStates = inputs.tensors["encoder_hidden_states_1"]
            told.secondMask = inputs.tensors["encoder_attention_mask_1"]
        }
        let prepared = try network.prepare(told, run)
        var outputs: [String: Tensor] = [:]
        outputs.put(try network(inputs.tensor("sample"), t: inputs.tensor("timestep"), prepared, run), for: "out")
        return outputs
    }
}
