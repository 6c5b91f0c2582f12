import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// A request for sounds from prompts, read and in range.
struct AudioRequest {
    /// What the language model's vectors of an empty negative prompt are.
    enum Unconditional: String, CaseIterable {
        /// What it makes of an empty text: diffusers.
        case encoded
        /// Zeros: the original code.
        case zeros
    }

    /// Texts; none where embeddings are given instead.
    let prompts: PromptTexts
    /// Sounds of each prompt.
    let perPrompt: Int
    /// nil: as the network was trained.
    let seconds: Double?
    let steps: StepsRequest
    let guidance: GuidanceRequest
    /// Classifier-free guidance scale; nil: the model's own.
    let scale: Double?
    /// Vectors that the language model makes; nil: as the checkpoint says.
    let generated: Int?
    let unconditional: Unconditional
    /// One seed for the batch, or one for each sound.
    let seeds: [UInt64]
    let decode: Bool

    /// The request that `reader` checked.
    init(_ reader: RequestReader) throws(DiffError) {
        let options = reader.options
        prompts = try PromptTexts(options)
        perPrompt = try options.get("waveforms_per_prompt")
        seconds = try options.optional("seconds")
        steps = try StepsRequest(options)
        guidance = try GuidanceRequest(options)
        scale = options.has("guidance") ? try options.get("guidance") : nil
        generated = options.declares("max_new_tokens") ? try options.optional("max_new_tokens") : nil
        unconditional = options.declares("unconditional") ? try options.getCase("unconditional") : .encoded
        seeds = try CommonOptions.seeds(options)
        decode = try options.get("decode")
    }

    /// The form of requests to `pipeline`.
    static func form(_ pipeline: AudioPipeline) -> RequestForm {
        let groups = [
            texts(pipeline), StepsRequest.options(pipeline.audio.solver, defaultSteps: pipeline.kind.steps),
            guidance(pipeline), language(pipeline), draws,
        ]
        return RequestForm(options: groups.flattened { $0 }, tensors: tensors(pipeline))
    }

    private static func texts(_ pipeline: AudioPipeline) -> [OptionSpec] {
        let text = OptionType.either([.text, .list(.text, 1...SampleRequest.maxSamples)])
        let least = pipeline.audio.rates.least
        let lengths = unsafe ClosedRange(uncheckedBounds: (least, max(least, AudioLength.most)))
        return [
            OptionSpec("prompt", text, absent: "prompt_embeds", "What is to be heard, or several as a batch."),
            OptionSpec(
                "negative_prompt", text, absent: "nothing",
                "What to keep away from: one text for all prompts, or one for each."),
            OptionSpec(
                "waveforms_per_prompt", .integer(1...SampleRequest.maxSamples), default: 1,
                "Sounds of each prompt, in the order in which they are made: none is judged."),
            OptionSpec(
                "seconds", .number(lengths), default: .number(pipeline.seconds),
                "Length of the sounds. What the network was not trained on it may do less well."),
        ]
    }

    private static func guidance(_ pipeline: AudioPipeline) -> [OptionSpec] {
        [
            OptionSpec(
                "guidance", .number(0...1000), default: .number(pipeline.kind.guidance),
                "Classifier-free guidance scale; 1 or less: none.")
        ] + GuidanceRequest.options
    }

    private static func language(_ pipeline: AudioPipeline) -> [OptionSpec] {
        guard case .sequence = pipeline.conditioner.form else { return [] }
        let positions = pipeline.conditioner.language?.outline.configuration.positions ?? 1024
        return [
            OptionSpec(
                "max_new_tokens", .integer(1...max(1, positions)), default: .integer(pipeline.conditioner.generated),
                "Vectors that the language model makes of a prompt."),
            OptionSpec(
                "unconditional", .cases(of: Unconditional.self), default: .string(Unconditional.encoded.rawValue),
                "What guidance leads away from, without a negative prompt: what the language model makes of an empty text, or zeros, as in the original code."
            ),
        ]
    }

    private static var draws: [OptionSpec] {
        [
            CommonOptions.seed,
            OptionSpec(
                "seeds", .list(.integer(0...Int.max), 1...SampleRequest.maxSamples), absent: "seed, for the batch",
                "A seed for each sound, which is then the same in whatever batch."),
            OptionSpec(
                "decode", .flag, default: true,
                "Whether the final state is made a sound: its spectrogram, and its values."
            ),
        ]
    }

    private static func tensors(_ pipeline: AudioPipeline) -> [TensorSpec] {
        let state = "\(pipeline.audio.network.channels), frames, \(pipeline.audio.bands)]"
        var tensors = [
            TensorSpec("noise", .f32, "[n, \(state)", "The initial noise, instead of that of the seed."),
            TensorSpec("step_noise", .f32, "[draws, n, \(state)", "The noise that steps add, in the order of use."),
        ]
        for (prefix, isNegative) in [("", false), ("negative_", true)].each {
            for (name, dims, summary) in texts(pipeline.conditioner).each {
                let said = isNegative ? "The same of the negative prompt." : summary
                tensors.append(TensorSpec("\(prefix)\(name)", .f32, dims, said))
            }
        }
        return tensors
    }

    /// What may stand in for texts: names, extents, and what they are.
    private static func texts(_ conditioner: AudioConditioner) -> [(name: String, dims: String, summary: String)] {
        let states =
            "CLAP's vectors, of length 1 (AudioLDM), or the second encoder's states (AudioLDM 2), instead of texts."
        guard case .sequence(let second) = conditioner.form else {
            return [("prompt_embeds", "[n, \(conditioner.vectorWidth)]", states)]
        }
        // Where a part is missing that would say so, requests are refused by its name.
        let width = (second ?? conditioner.projection?.configuration.stateWidth).map { "\($0)" } ?? "width"
        let vectors = conditioner.projection.map { "\($0.configuration.vectorWidth)" } ?? "width"
        return [
            ("prompt_embeds", "[n, tokens, \(width)]", states),
            (
                "attention_mask", "[n, tokens]",
                "1 for states of prompt_embeds that are seen, 0 for padding; without it all are seen."
            ),
            (
                "generated_prompt_embeds", "[n, vectors, \(conditioner.textWidth)]",
                "What the language model makes, beside prompt_embeds."
            ),
            (
                "clap_embeds", "[n, \(vectors)]",
                "CLAP's vectors: of these and of prompt_embeds the language model makes the rest."
            ),
        ]
    }

    /// Names and extents of what stands in for one text.
    static func embeddings(_ conditioner: AudioConditioner, _ network: UNet) -> [(name: String, dims: [Int])] {
        guard case .sequence(let second) = conditioner.form else {
            return [("prompt_embeds", [1, conditioner.vectorWidth])]
        }
        var all = [(name: "generated_prompt_embeds", dims: [1, conditioner.generated, network.textWidth])]
        if let second { all.append(("prompt_embeds", [1, 1, second])) }
        return all
    }
}
