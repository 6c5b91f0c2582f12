import DiffModels
import DiffSampling
import DiffTensor

/// Masked decoding of a language model: what a request means for its family.
struct LanguageSampling: FamilySampling {
    let network: LanguageModel

    var layouts: [SiteLayout] { [network.layout] }

    /// Checks `request` against the model. Throws `invalidArgument` or `unsupported`.
    func job(_ request: SampleRequest) throws(DiffError) -> any SamplingJob {
        guard let text = request.text else {
            throw DiffError(.invalidArgument, "a language model needs prompts, not labels")
        }
        let c = network.configuration
        guard let mask = c.maskToken else {
            throw DiffError(.unsupported, "the model's config names no mask_token_id")
        }
        guard (1...SampleRequest.maxSamples).contains(text.prompts.count) else {
            throw DiffError(
                .invalidArgument, "a request needs 1...\(SampleRequest.maxSamples) prompts, found \(text.prompts.count)"
            )
        }
        for (prompt, tokens) in text.prompts.numbered {
            for (position, token) in tokens.numbered where token < 0 || token >= c.vocabulary {
                throw DiffError(
                    .invalidArgument,
                    "prompt \(prompt): token \(token) at position \(position) is outside 0..<\(c.vocabulary)")
            }
            if Checked.sum(tokens.count, text.length) > c.trainedLength {
                Log.write(
                    .warning,
                    "prompt \(prompt) and its text are longer than the \(c.trainedLength) tokens the model was made for"
                )
            }
        }
        guard text.seeds.isEmpty || text.seeds.count == text.prompts.count else {
            throw DiffError(.invalidArgument, "\(text.seeds.count) seeds for \(text.prompts.count) prompts")
        }
        var common = MaskedCommon(maskToken: mask, length: text.length)
        common.forbidden = (text.forbidsMask ? [mask] : []) + (text.forbidsEnd ? c.endTokens : [])
        guard Set(common.forbidden).count < c.vocabulary else {
            throw DiffError(.invalidArgument, "every token of the vocabulary is forbidden")
        }
        return LanguageJob(
            network: network, decoding: try decoding(text, common),
            draws: text.seeds.isEmpty ? DecodingNoise(seed: text.seed) : DecodingNoise(seeds: text.seeds),
            length: text.length)
    }

    private func decoding(_ text: TextRequest, _ common: MaskedCommon) throws(DiffError) -> MaskedDecoding {
        let prompts = text.prompts.map { MaskedPrompt($0) }
        switch network.configuration.family {
        case .llada:
            guard text.orderTemperature == 0, text.topP == 1, text.topK == 0 else {
                throw DiffError(.unsupported, "top_p, top_k and the order's temperature are Dream's; this is LLaDA")
            }
            var options = LLaDAOptions(common)
            options.blockLength = text.blockLength ?? text.length
            options.steps = text.steps ?? text.length
            options.remasking = try named(text.order, .lowConfidence, "order")
            (options.temperature, options.guidance) = (text.temperature, text.guidance)
            options.threshold = text.threshold
            options.reluctant = text.delaysEnd ? network.configuration.endTokens : []
            return try MaskedDecoding(prompts, options)
        case .dream:
            guard text.blockLength == nil, text.guidance == 0, text.threshold == nil, !text.delaysEnd else {
                throw DiffError(.unsupported, "blocks, guidance and thresholds are LLaDA's; this is Dream")
            }
            var options = DreamOptions(common)
            options.steps = text.steps ?? text.length
            options.algorithm = try named(text.order, .entropy, "order")
            options.algorithmTemperature = text.orderTemperature
            (options.temperature, options.topP, options.topK) = (text.temperature, text.topP, text.topK)
            options.eps = text.eps
            return try MaskedDecoding(prompts, options)
        }
    }

    private func named<T: RawRepresentable & CaseIterable>(
        _ name: String?, _ fallback: T, _ option: String
    ) throws(DiffError) -> T where T.RawValue == String {
        guard let name else { return fallback }
        guard let value = T(rawValue: name) else {
            let known = T.allCases.map(\.rawValue).joined(separator: ", ")
            throw DiffError(.invalidArgument, "\(option) must be one of \(known); found \"\(name)\"")
        }
        return value
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var text = TextRequest(prompts: [[0]])
        if let steps { (text.length, text.steps) = (max(1, steps), max(1, steps)) }
        if network.configuration.family == .llada { text.order = LLaDAOptions.Remasking.random.rawValue }
        var request = SampleRequest()
        request.text = text
        return request
    }

    /// Floating-point operations of one fed token and its logits.
    func flopsPerCall() throws(DiffError) -> Double {
        let run = Run(dryOn: 1)
        try run.begin(Opening(layouts: layouts, calls: 1, steps: 1, rows: 1))
        let memory = try network.memory([KeyValueMemory.Slot(length: 1)], run)
        let feeding = Feeding([try FedSample(slot: 0, places: [0], tokens: [0], wanted: [0])])
        _ = try network.logits(network.states(feeding, memory, run), run)
        return run.trace.flops.first ?? 0
    }
}

/// One generation, real or dry.
struct LanguageJob: SamplingJob {
    let network: LanguageModel
    let decoding: MaskedDecoding
    /// Where random numbers come from.
    let draws: DecodingNoise
    let length: Int

    var opening: Opening {
        Opening(
            layouts: [network.layout], calls: decoding.passes, steps: decoding.passes, rows: decoding.prompts.count)
    }
    var sampler: String { "unmask" }
    var stage: SampleEvent.Stage { .unmask }
    var timesteps: [Int] { Array(Indices(below: decoding.passes)) }
    var noise: (state: Shape, steps: Int)? { nil }
    var latents: Shape? { nil }
    var decoder: ImageDecoder? { nil }

    func requireFinite(_ run: Run) throws(DiffError) {}

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        let memory = try network.memory(decoding.slots, run)
        let masked = MaskedNetwork(
            vocabulary: network.configuration.vocabulary,
            states: { [network] (feeding, run) throws(DiffError) in try network.states(feeding, memory, run) },
            logits: { [network] (states, run) throws(DiffError) in try network.logits(states, run) })
        let canvases = try decoding.sample(masked, noise: draws, run) { (progress) throws(DiffError) in
            var told = SamplingProgress(step: progress.pass, steps: progress.passes, timestep: progress.pass)
            told.text = TextEvent(progress)
            told.heldBytes = memory.byteCount
            try observe(told)
        }
        var output = SamplingOutput()
        var tokens: [Int] = []
        for canvas in canvases.each {
            for place in Indices(below: length) {
                if let token = canvas.at(canvas.count &- length &+ place) { tokens.append(token) }
            }
        }
        output.others = [
            try ResultTensor(
                "tokens", tokens, Shape(canvases.count, length), budget: run.isDry ? nil : run.workspace.memoryBudget)
        ]
        return output
    }
}
