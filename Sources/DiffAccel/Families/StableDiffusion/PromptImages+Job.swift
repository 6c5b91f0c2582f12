import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// What a request means.
extension PromptImages {
    /// Checks `asked` against the model. Throws `invalidArgument`, `shape`, `incompatible` or `unsupported`.
    @inline(never)
    func job(_ asked: SampleRequest) throws(DiffError) -> any SamplingJob {
        let reader = try RequestReader(asked, form)
        let request = try PromptImageRequest(reader)
        let given = try Given(reader, self)
        let size = try size(request, given)
        let samples = try samples(request, given)
        let shape = try Shape(samples, channels, size.height / max(1, factor), size.width / max(1, factor))
        let (name, plain) = try solver.sampler(
            request.steps, steps: request.steps.steps ?? learnedSteps ?? steps, learnsVariance: false,
            tokens: shape[2] &* shape[3] / max(1, network.sideMultiple &* network.sideMultiple))
        if plain.needsVariance {
            throw DiffError(.unsupported, "sampler \(name) needs a model that learns the variance")
        }
        let strength = strength(request, given)
        let isSpaced = spacesByStrength && given.mask == nil && given.hasPicture
        let (sampler, first) = try begun(plain, strength, spaced: isSpaced)
        let (guidance, told) = try guidance(request)
        let noise = NoiseSource(
            seeds: request.seeds, start: try reader.floats("noise", shape),
            steps: try reader.floats("step_noise", Shape([sampler.draws] + shape.dims)))
        return PromptJob(
            network: network, process: sampler, sampler: name, source: noise,
            texts: PromptConditioning(
                conditioner, try words(request, given, guided: guidance != nil), perPrompt: request.perPrompt,
                sizes: network.takesSizes
                    ? request.told.numbers(size.height, size.width, ofPicture: given.hasPicture) : nil,
                toldGuidance: told,
                clipSkip: request.clipSkip, textLength: request.textLength),
            guidance: guidance, shape: shape, picture: try picture(request, given, strength, first, sampler),
            decoder: request.decode ? decoder : nil, tiling: request.tiling,
            preview: try preview(request.preview),
            made: parameters(
                request, name, steps: sampler.steps, scale: request.scale ?? self.guidance, size: size,
                samples: samples, strength: given.hasPicture ? strength : nil,
                hasNoise: reader.floats("noise") != nil))
    }

    /// Tensors of the caller that are not noise.
    struct Given {
        let image: Tensor?, latents: Tensor?, mask: Tensor?
        let embeddings: PromptConditioning.Embeddings?

        /// Whether the run begins with a picture.
        var hasPicture: Bool { image != nil || latents != nil }

        init(_ reader: RequestReader, _ sampling: PromptImages) throws(DiffError) {
            (image, latents, mask) = (reader.floats("image"), reader.floats("image_latents"), reader.floats("mask"))
            let network = sampling.network
            embeddings = try Self.embeddings(reader, width: network.textWidth, pooledWidth: network.pooledWidth)
            guard image == nil || latents == nil else {
                throw DiffError(
                    .invalidArgument, "request: image and image_latents are both given; one of them says all")
            }
            try Self.require(image, "image", channels: 3)
            try Self.require(latents, "image_latents", channels: sampling.channels)
            try Self.require(mask, "mask", channels: 1)
            guard mask == nil || image != nil || latents != nil && !sampling.paintsIn else {
                throw DiffError(.invalidArgument, "request: a mask needs the image that it is about")
            }
            guard !sampling.paintsIn || mask != nil else {
                throw DiffError(
                    .invalidArgument,
                    "request: the model was trained to paint in and needs image and mask (a mask of ones paints everything)"
                )
            }
        }

        private static func require(_ x: Tensor?, _ name: String, channels: Int) throws(DiffError) {
            guard let x, x.shape.rank != 4 || x.shape[1] != channels || x.shape.count == 0 else { return }
            throw DiffError(
                .shape, "request: the tensor \"\(name)\" is \(x.shape), expected [1 or n, \(channels), h, w]")
        }

        private static func embeddings(
            _ reader: RequestReader, width: Int, pooledWidth: Int?
        ) throws(DiffError) -> PromptConditioning.Embeddings? {
            func states(_ name: String) throws(DiffError) -> Tensor? {
                guard let x = reader.floats(name) else { return nil }
                guard x.shape.rank == 3, x.shape.last == width, x.shape.count > 0 else {
                    throw DiffError(
                        .shape, "request: the tensor \"\(name)\" is \(x.shape), expected [n, tokens, \(width)]")
                }
                return x
            }
            func pooled(_ name: String, beside states: Tensor?) throws(DiffError) -> Tensor? {
                guard let pooledWidth else { return nil }
                let x = reader.floats(name)
                guard (x == nil) == (states == nil),
                    x.map({ $0.shape.dims == [states?.shape[0] ?? 0, pooledWidth] }) ?? true
                else {
                    throw DiffError(
                        .shape,
                        "request: the tensor \"\(name)\" is \(x.map { "\($0.shape)" } ?? "missing"), expected [n, \(pooledWidth)] beside the states"
                    )
                }
                return x
            }
            let positive = try states("prompt_embeds")
            let negative = try states("negative_prompt_embeds")
            let pooledPositive = try pooled("pooled_prompt_embeds", beside: positive)
            let pooledNegative = try pooled("negative_pooled_prompt_embeds", beside: negative)
            guard let positive else {
                guard negative == nil else {
                    throw DiffError(.invalidArgument, "request: negative_prompt_embeds go with prompt_embeds")
                }
                return nil
            }
            if let negative, negative.shape != positive.shape,
                negative.shape[0] != 1 || negative.shape[1] != positive.shape[1]
            {
                throw DiffError(
                    .shape, "request: negative_prompt_embeds are \(negative.shape), prompt_embeds \(positive.shape)")
            }
            return PromptConditioning.Embeddings(
                states: positive, pooled: pooledPositive, negativeStates: negative, negativePooled: pooledNegative)
        }
    }

    /// Height and width in pixels. Throws `invalidArgument` for sizes that latents cannot have, `shape` for a picture of another size.
    private func size(_ request: PromptImageRequest, _ given: Given) throws(DiffError) -> (height: Int, width: Int) {
        let multiple = max(1, factor &* max(1, network.sideMultiple))
        let side = network.side &* factor
        let shown =
            given.image.map { ($0.shape[2], $0.shape[3]) }
            ?? given.latents.map { ($0.shape[2] &* factor, $0.shape[3] &* factor) }
        let size = (height: request.size.height ?? shown?.0 ?? side, width: request.size.width ?? shown?.1 ?? side)
        for (name, extent) in [("height", size.height), ("width", size.width)].each {
            guard extent % multiple == 0, extent > 0 else {
                throw DiffError(
                    .invalidArgument, "request: \(name) must be a multiple of \(multiple), found \(extent)")
            }
            let most = network.maxSide.map { $0 &* factor } ?? PromptImageRequest.maxSide
            guard extent <= most else {
                throw DiffError(.invalidArgument, "request: \(name) must be at most \(most), found \(extent)")
            }
        }
        if let shown, shown != (size.height, size.width) {
            throw DiffError(
                .shape,
                "request: the picture is \(shown.0) x \(shown.1), height and width are \(size.height) x \(size.width): scale it first"
            )
        }
        if let mask = given.mask, (mask.shape[2], mask.shape[3]) != (size.height, size.width) {
            throw DiffError(
                .shape,
                "request: the mask is \(mask.shape[2]) x \(mask.shape[3]), the picture \(size.height) x \(size.width)")
        }
        return size
    }

    /// The number of pictures. Throws `invalidArgument` when prompts, seeds and pictures do not agree.
    private func samples(_ request: PromptImageRequest, _ given: Given) throws(DiffError) -> Int {
        let prompts = given.embeddings?.states.shape[0] ?? request.prompts.count
        guard (given.embeddings == nil) != (request.prompts.count == 0) else {
            throw DiffError(
                .invalidArgument,
                given.embeddings == nil
                    ? "request: prompt or prompt_embeds is needed"
                    : "request: prompt and prompt_embeds are both given; one of them says all")
        }
        guard let samples = Checked.multiply(prompts, request.perPrompt), samples <= SampleRequest.maxSamples else {
            throw DiffError(
                .invalidArgument,
                "request: \(prompts) prompts, \(request.perPrompt) pictures of each: more than \(SampleRequest.maxSamples)"
            )
        }
        guard request.seeds.count == 1 || request.seeds.count == samples else {
            throw DiffError(.invalidArgument, "request: \(request.seeds.count) seeds for \(samples) pictures")
        }
        for (name, tensor) in [("image", given.image), ("image_latents", given.latents), ("mask", given.mask)].each {
            guard let tensor, tensor.shape[0] != 1, tensor.shape[0] != samples else { continue }
            throw DiffError(
                .shape, "request: \(tensor.shape[0]) of \"\(name)\" for \(samples) pictures: give 1, or one for each")
        }
        return samples
    }

    /// The guidance that a request means (nil: the plain conditional prediction), and what a network distilled with guidance is told.
    private func guidance(_ request: PromptImageRequest) throws(DiffError) -> (Guidance?, told: Float?) {
        let scale = request.scale ?? guidance
        let guidance = try request.guidance.guidance(scale: scale, channels: channels, of: channels)
        if network.takesGuidance { return (nil, Float(scale - 1)) }
        return (scale > 1 ? guidance : nil, nil)
    }

    private func words(
        _ request: PromptImageRequest, _ given: Given, guided: Bool
    ) throws(DiffError) -> PromptConditioning.Words {
        if let embeddings = given.embeddings { return .embeddings(embeddings) }
        let texts = request.prompts
        var (positive, negative): ([PromptTokens], [PromptTokens]) = ([], [])
        for row in Indices(below: texts.count) {
            positive.append(
                try conditioner.tokens(texts, row, negative: false, textLength: request.textLength))
        }
        if guided, texts.hasNegative || !conditioner.zerosNegatives {
            for row in Indices(below: texts.negativeCount) {
                negative.append(
                    try conditioner.tokens(texts, row, negative: true, textLength: request.textLength))
            }
        }
        return .tokens(positive: positive, negative: negative)
    }

    /// The sampler of a run that changes a picture with this `strength`, and its first evaluation; nil when no step is left.
    private func begun(
        _ sampler: any Sampler, _ strength: Double, spaced: Bool
    ) throws(DiffError) -> (any Sampler, first: Int?) {
        if spaced, let other = sampler as? any StrengthSpacedSampler {
            return (try other.spaced(strength: strength), 0)
        }
        return (sampler, sampler.firstCall(strength: strength))
    }

    /// How much of a given picture is changed.
    private func strength(_ request: PromptImageRequest, _ given: Given) -> Double {
        request.strength ?? (given.mask == nil ? 0.8 : 1)
    }

    /// What the run begins with; nil: noise alone. Throws `unsupported` without an encoder for pictures.
    private func picture(
        _ request: PromptImageRequest, _ given: Given, _ strength: Double, _ first: Int?, _ sampler: any Sampler
    ) throws(DiffError) -> GivenPicture? {
        let source: GivenPicture.Source
        if let image = given.image {
            guard let autoencoder, autoencoder.hasEncoder else {
                throw DiffError(
                    .unsupported,
                    "the checkpoint has nothing that encodes pictures: give image_latents, or open it with an autoencoder that has an encoder"
                )
            }
            source = .pixels(image, autoencoder)
        } else if let latents = given.latents {
            source = .latents(latents)
        } else {
            guard request.strength == nil else {
                throw DiffError(.invalidArgument, "request: strength is for a run that begins with an image")
            }
            return nil
        }
        guard let first else {
            throw DiffError(
                .invalidArgument,
                "request: strength \(strength) of \(sampler.steps) steps is less than one step: take more of either")
        }
        return GivenPicture(
            source, mask: given.mask, showsMask: paintsIn, startsInNoise: given.mask != nil && strength == 1,
            firstCall: first)
    }

    /// Which published factors there are for the latents.
    private var space: LatentPreview.Space {
        if channels == 16 { return .stableDiffusion3 }
        return network.takesSizes ? .stableDiffusionXL : .stableDiffusion
    }

    private func preview(_ wanted: PromptImageRequest.Preview) throws(DiffError) -> StatePreview {
        switch wanted {
        case .none: return .none
        case .decoder:
            guard let decoder else { throw DiffError(.unsupported, "the model has no decoder to preview with") }
            return .decoded(decoder)
        case .linear: return .decoded(try LinearDecoder(space))
        }
    }
}
