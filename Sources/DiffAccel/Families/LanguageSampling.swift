import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor

/// Masked decoding of a language model: what a request means for its family.
struct LanguageSampling: FamilySampling {
    let network: LanguageModel
    /// What makes tokens of a request's texts.
    let encoder: PromptEncoder
    /// Whether the session's plan caches block by block, so that a request without blocks has one.
    private(set) var isBlockwise = false

    init(network: LanguageModel, encoder: PromptEncoder) { (self.network, self.encoder) = (network, encoder) }

    func under(_ plan: Plan, _ options: SessionOptions) -> any FamilySampling {
        var sampling = self
        sampling.isBlockwise = plan.isBlockwise
        return sampling
    }

    var layouts: [SiteLayout] { [network.layout] }

    var form: RequestForm { TextRequest.form(network.configuration) }

    /// Checks `request` against the model. Throws `invalidArgument`, `shape` or `unsupported`.
    func job(_ request: SampleRequest) throws(DiffError) -> any SamplingJob {
        let text = try TextRequest(RequestReader(request, form), encoder)
        let c = network.configuration
        guard let mask = c.maskToken else {
            throw DiffError(
                .unsupported,
                "the model's config names no mask_token_id; open it with the option mask_token (iLLaDA's published models: 5)"
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
        var common = MaskedCommon(maskToken: mask, length: text.length, infills: text.infill)
        common.forbidden = (text.allowMask ? [] : [mask]) + (text.noEnd ? c.endTokens : [])
        guard Set(common.forbidden).count < c.vocabulary else {
            throw DiffError(.invalidArgument, "every token of the vocabulary is forbidden")
        }
        return LanguageJob(
            network: network, core: encoder.core, whole: text.infill || text.length == 0,
            mayEndSooner: text.threshold != nil,
            decoding: try decoding(text, common),
            draws: text.seeds.isEmpty ? DecodingNoise(seed: text.seed) : DecodingNoise(seeds: text.seeds),
            length: text.length, mask: mask)
    }

    /// Says what the published rule leaves: masks in a prompt take part in the text's budget and are none of it.
    private func warnOfMasks(_ text: TextRequest, _ mask: Int) {
        guard !text.infill, text.length > 0 else { return }
        for (prompt, tokens) in text.prompts.numbered where tokens.contains(mask) {
            Log.write(
                .warning,
                "prompt \(prompt) holds masks, and steps are made for the text alone: as many positions stay masked; infill fills all"
            )
        }
    }

    private func decoding(_ text: TextRequest, _ common: MaskedCommon) throws(DiffError) -> MaskedDecoding {
        let prompts = text.prompts.map { MaskedPrompt($0) }
        switch network.configuration.family {
        case .llada, .illada:
            warnOfMasks(text, common.maskToken)
            var options = LLaDAOptions(common)
            (options.blockLength, options.steps) = (text.blockLength, text.steps)
            options.remasking = Self.named(text.order, .lowConfidence)
            (options.temperature, options.guidance) = (text.temperature, text.guidance)
            options.threshold = text.threshold
            options.reluctant = text.endLast ? network.configuration.endTokens : []
            return try MaskedDecoding(prompts, options)
        case .dream:
            var options = DreamOptions(common)
            (options.blockLength, options.isBlockwise) = (text.blockLength, isBlockwise)
            options.threshold = text.threshold
            // By the published schedule the text's length counts, not the masks in the prompt.
            let isPlain = !options.hasBlocks && text.threshold == nil && !text.infill && text.length > 0
            options.steps = text.steps ?? (isPlain ? text.length : nil)
            options.algorithm = Self.named(text.order, text.threshold == nil ? .entropy : .maskGIT)
            options.algorithmTemperature = text.orderTemperature
            (options.temperature, options.topP, options.topK) = (text.temperature, text.topP, text.topK)
            options.eps = text.eps
            return try MaskedDecoding(prompts, options)
        }
    }

    private static func named<T: RawRepresentable<String>>(_ name: String?, _ fallback: T) -> T {
        name.flatMap(T.init(rawValue:)) ?? fallback
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(["tokens": [[0]]])
        if let steps { request["length"] = .integer(max(1, steps)) }
        request["steps"] = request["length"]
        if network.configuration.family != .dream { request["order"] = .string(LLaDAOptions.Remasking.random.rawValue) }
        return request
    }

    /// Floating-point operations of one token and its logits.
    func flopsPerCall() throws(DiffError) -> Double {
        let run = Run(dryOn: 1)
        try run.begin(SamplingContext(layouts: layouts, calls: 1, rows: 1))
        let memory = try network.memory([KeyValueMemory.Sequence(length: 1)], run)
        let all = [PositionSet(all: 1)]
        _ = try network.logits(network.states([[0]], queries: all, wanted: all, memory, run), run)
        return run.trace.flops.first ?? 0
    }
}

/// One generation, real or dry.
struct LanguageJob: SamplingJob {
    let network: LanguageModel
    /// What has the tokenizer.
    let core: LanguageCore
    /// Whether prompts are a part of the texts: they were filled in.
    let whole: Bool
    /// With a threshold a pass reveals as many positions as are sure.
    let mayEndSooner: Bool
    let decoding: MaskedDecoding
    /// Where random numbers come from.
    let draws: DecodingNoise
    /// Tokens after each prompt, and the mask.
    let length: Int, mask: Int

    var context: SamplingContext {
        SamplingContext(
            layouts: [network.layout], calls: .exactly(decoding.passes), steps: decoding.passes,
            rows: decoding.prompts.count, isStateful: true)
    }
    var sampler: String { "unmask" }
    var stage: SampleEvent.Stage { .unmask }
    var timesteps: [Double] { Indices(below: decoding.passes).map { Double($0) } }
    var noise: (state: Shape, draws: Int)? { nil }
    var latents: Shape? { nil }
    var decoder: (any StateDecoder)? { nil }

    func requireFinite(_ run: Run) throws(DiffError) {}

    func perform(
        _ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> SamplingOutput {
        let memory = try network.memory(
            decoding.sequences.map { KeyValueMemory.Sequence(length: $0.length, padding: $0.padding) }, run)
        let masked = MaskedNetwork(
            vocabulary: network.configuration.vocabulary,
            states: { [network] (pass, run) throws(DiffError) in
                try network.states(pass.sequences, queries: pass.queries, wanted: pass.wanted, memory, run)
            },
            logits: { [network] (states, run) throws(DiffError) in try network.logits(states, run) })
        let sequences = try decoding.sample(masked, noise: draws, run) { (progress) throws(DiffError) in
            var told = SamplingProgress(call: progress.pass, calls: progress.passes, timestep: Double(progress.pass))
            told.text = TextEvent(
                texts: progress.samples.map { sample in
                    TextEvent.Text(
                        prompt: sample.sample, sequence: sample.sequence, revealed: sample.revealed,
                        queries: sample.queries.count)
                }, queryRows: progress.queryRows, headRows: progress.headRows)
            told.heldBytes = memory.byteCount
            try observe(told)
        }
        var output = SamplingOutput()
        output.others = try results(sequences, run)
        return output
    }

    /// The texts after the prompts; all sequences one after the other, their lengths, and which of their positions were filled.
    private func results(_ sequences: [[Int]], _ run: Run) throws(DiffError) -> [ResultTensor] {
        var (tokens, filled, all, lengths): ([Int], [Int], [Int], [Int]) = ([], [], [], [])
        for (index, sequence) in sequences.numbered {
            lengths.append(sequence.count)
            let prompt = decoding.prompts.at(index)?.tokens ?? []
            for (position, token) in sequence.numbered {
                all.append(token)
                if position >= prompt.count { tokens.append(token) }
                filled.append((prompt.at(position) ?? mask) == mask && token != mask ? 1 : 0)
            }
        }
        let budget = run.isDry ? nil : run.workspace.memoryBudget
        var tensors = [
            try ResultTensor("tokens", tokens, Shape(sequences.count, length), budget: budget),
            try ResultTensor("sequences", all, Shape(all.count), budget: budget),
            try ResultTensor("lengths", lengths, Shape(lengths.count), budget: budget),
            try ResultTensor("filled", filled, Shape(filled.count), budget: budget),
        ]
        if !run.isDry, let texts = core.texts(sequences, length: length, whole: whole) {
            var (bytes, counts): ([UInt8], [Int]) = ([], [])
            for text in texts.each {
                let before = bytes.count
                for byte in Array(text.utf8).each { bytes.append(byte) }
                counts.append(bytes.count &- before)
            }
            tensors.append(try ResultTensor("text", bytes))
            tensors.append(try ResultTensor("text_lengths", counts, Shape(counts.count), budget: budget))
        }
        return tensors
    }
}
