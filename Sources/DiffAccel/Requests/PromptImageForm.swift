import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

extension PromptImageRequest {
    /// What the form of requests depends on.
    struct Traits {
        /// The text encoders that read prompts.
        let encoders: Int
        /// Layers of the text encoder whose last ones can be left out.
        let textLayers: Int
        /// Whether the network is told sizes (SDXL), and whether a T5 encoder has its own length (SD3).
        let takesSizes: Bool, takesTextLength: Bool
        /// Pixels of the side of a picture, and of a latent.
        let side: Int, factor: Int
        /// Channels of the latents.
        let channels: Int
        let guidance: Double, steps: Int
        /// Width of the text states and of the pooled text; nil: none.
        let textWidth: Int, pooledWidth: Int?
        /// Whether the network was trained to paint in.
        let paintsIn: Bool
    }

    /// The form of requests to a model with these traits under `solver`.
    static func form(_ traits: Traits, _ solver: any ImageSolver) -> RequestForm {
        let groups = [
            texts(traits), size(traits), StepsRequest.options(solver, defaultSteps: traits.steps), guidance(traits),
            picture(traits), told(traits), draws,
        ]
        return RequestForm(options: groups.flattened { $0 }, tensors: tensors(traits))
    }

    private static func texts(_ traits: Traits) -> [OptionSpec] {
        let text = OptionType.either([.text, .list(.text, 1...SampleRequest.maxSamples)])
        var options: [OptionSpec] = []
        for index in Indices(below: max(1, traits.encoders)) {
            let suffix = index == 0 ? "" : "_\(index &+ 1)"
            options.append(
                OptionSpec(
                    "prompt\(suffix)", text, absent: index == 0 ? "prompt_embeds" : "prompt",
                    index == 0
                        ? "What to draw, or several as a batch."
                        : "What text encoder \(index &+ 1) reads, where that is another text."))
            options.append(
                OptionSpec(
                    "negative_prompt\(suffix)", text, absent: index == 0 ? "nothing" : "negative_prompt",
                    index == 0
                        ? "What to keep away from: one text for all prompts, or one for each."
                        : "What text encoder \(index &+ 1) reads of it, where that is another text."))
        }
        options.append(
            OptionSpec(
                "images_per_prompt", .integer(1...SampleRequest.maxSamples), default: 1, "Pictures of each prompt."))
        options.append(
            OptionSpec(
                "clip_skip", .integer(0...max(0, traits.textLayers &- 1)),
                absent: "the layer the model was trained with",
                "Layers left out at the end of the CLIP text encoders."))
        if traits.takesTextLength {
            options.append(
                OptionSpec("max_sequence_length", .integer(1...512), default: 256, "Tokens of the text that T5 reads."))
        }
        return options
    }

    private static func size(_ traits: Traits) -> [OptionSpec] {
        var options: [OptionSpec] = []
        for name in ["height", "width"].each {
            options.append(
                OptionSpec(
                    name, .integer(min(traits.factor, maxSide)...maxSide),
                    absent: "that of the given picture, else \(traits.side)",
                    "Pixels, a multiple of \(traits.factor)."))
        }
        return options
    }

    private static func guidance(_ traits: Traits) -> [OptionSpec] {
        [
            OptionSpec(
                "guidance", .number(0...1000), default: .number(traits.guidance),
                "Classifier-free guidance scale; 1 or less: none.")
        ] + GuidanceRequest.options
    }

    private static func picture(_ traits: Traits) -> [OptionSpec] {
        [
            OptionSpec(
                "strength", .number(0...1), absent: "0.8 with a picture, 1 with a mask",
                "How much of the given picture is changed: the share of the steps that is made.")
        ]
    }

    private static func told(_ traits: Traits) -> [OptionSpec] {
        guard traits.takesSizes else { return [] }
        let pair = OptionType.list(.integer(0...maxSide), 2...2)
        let words = [
            "Height and width that the picture is to look like it had before it was scaled.",
            "Top and left of the part that it is to look like it was cut from.",
            "Height and width that the network is told to aim at.",
        ]
        var options: [OptionSpec] = []
        for (index, name) in ToldSizes.names.numbered {
            let isNegative = index >= words.count
            let absent = isNegative ? "as for the prompt" : index == 1 ? "[0, 0]" : "height and width"
            options.append(
                OptionSpec(
                    name, pair, absent: absent,
                    (words.at(index % max(1, words.count)) ?? "") + (isNegative ? " For the negative prompt." : "")))
        }
        return options
    }

    private static var draws: [OptionSpec] {
        [
            CommonOptions.seed,
            OptionSpec(
                "seeds", .list(.integer(0...Int.max), 1...SampleRequest.maxSamples), absent: "seed, for the batch",
                "A seed for each picture, which is then the same in whatever batch."),
            OptionSpec(
                "previews", .choice(Preview.allCases.map(\.rawValue)), default: .string(Preview.none.rawValue),
                "What events show: nothing, a linear projection of the latents, or what the decoder makes of them."),
            CommonOptions.decode, Tiling.option,
        ]
    }

    private static func tensors(_ traits: Traits) -> [TensorSpec] {
        let state = "\(traits.channels), h, w]"
        var tensors = [
            TensorSpec("noise", .f32, "[n, \(state)", "The initial noise, instead of that of the seed."),
            TensorSpec("step_noise", .f32, "[draws, n, \(state)", "The noise that steps add, in the order of use."),
            TensorSpec("image", .f32, "[1 or n, 3, H, W]", "The picture to begin with, in -1 … 1."),
            TensorSpec(
                "image_latents", .f32, "[1 or n, \(state)", "The same as scaled latents, instead of image."),
            TensorSpec(
                "mask", .f32, "[1 or n, 1, H, W]", "Where to paint: 1 (0.5 or more), and where the picture stays: 0."),
            TensorSpec(
                "prompt_embeds", .f32, "[n, tokens, \(traits.textWidth)]", "States of the text, instead of prompt."),
            TensorSpec(
                "negative_prompt_embeds", .f32, "[n, tokens, \(traits.textWidth)]",
                "The same of the negative prompt."),
        ]
        if let width = traits.pooledWidth {
            tensors.append(
                TensorSpec("pooled_prompt_embeds", .f32, "[n, \(width)]", "The pooled text beside prompt_embeds."))
            tensors.append(
                TensorSpec("negative_pooled_prompt_embeds", .f32, "[n, \(width)]", "The same of the negative prompt."))
        }
        return tensors
    }
}
