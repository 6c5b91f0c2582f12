public import DiffTensor

/// A network as masked decoding sees it.
public struct MaskedNetwork {
    /// Size of the vocabulary.
    public let vocabulary: Int
    /// A pass: stores the fed places, gives the states of the wanted ones [1, wanted, width].
    public let states: (_ feeding: Feeding, _ run: Run) throws(DiffError) -> Tensor
    /// Logits of states: [1, rows, width] to [1, rows, vocabulary], fresh.
    public let logits: (_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor

    /// A network of these two functions.
    public init(
        vocabulary: Int, states: @escaping (_ feeding: Feeding, _ run: Run) throws(DiffError) -> Tensor,
        logits: @escaping (_ states: Tensor, _ run: Run) throws(DiffError) -> Tensor
    ) {
        (self.vocabulary, self.states, self.logits) = (vocabulary, states, logits)
    }
}

/// What masked decoding tells after each pass. Return from the observer to go on, throw to stop.
public struct MaskedProgress: Sendable {
    /// One sample that took part in the pass.
    public struct Sample: Sendable {
        /// Number of the sample in the batch.
        public let sample: Int
        /// Passes it has made, this one included.
        public let step: Int
        /// The whole canvas, prompt included.
        public let canvas: [Int]
        /// Places written by this step, in the order of revelation.
        public let revealed: [Int]
        /// Per place, whether it was fed.
        public let fed: [Bool]
        /// Confidences compared by this step, by place; empty when none were.
        public let confidences: [Double]
    }

    /// Number of the pass over the batch.
    public let pass: Int
    /// Passes that will be made at most.
    public let passes: Int
    /// Rows fed to the network and rows that went through its head.
    public let fedRows: Int, headRows: Int
    /// The samples of this pass.
    public let samples: [Sample]
}

/// Masked decoding of a batch: which places a pass feeds and which tokens it reveals. Knows no network and no method.
public struct MaskedDecoding: Sendable {
    private enum Rule: Sendable {
        case llada(LLaDAOptions)
        case dream(DreamOptions)
    }

    private let rule: Rule
    /// The prompts.
    public let prompts: [MaskedPrompt]

    /// Decodes as LLaDA does. Throws `invalidArgument`.
    public init(_ prompts: [MaskedPrompt], _ options: LLaDAOptions) throws(DiffError) {
        try options.common.check(prompts)
        try options.check(prompts)
        (rule, self.prompts) = (.llada(options), prompts)
    }

    /// Decodes as Dream does. Throws `invalidArgument`.
    public init(_ prompts: [MaskedPrompt], _ options: DreamOptions) throws(DiffError) {
        try options.common.check(prompts)
        try options.check(prompts)
        (rule, self.prompts) = (.dream(options), prompts)
    }

    private var common: MaskedCommon {
        switch rule {
        case .llada(let options): options.common
        case .dream(let options): options.common
        }
    }

    private var guidance: Double {
        if case .llada(let options) = rule { options.guidance } else { 0 }
    }

    /// Masked places of one canvas at most.
    private var masks: Int { prompts.each.reduce(0) { max($0, common.masks($1)) } }

    /// Blocks of one canvas at most.
    private var blocks: Int {
        prompts.each.reduce(0) { most, prompt in
            switch rule {
            case .llada(let options): max(most, common.blocks(prompt, of: options.blockLength).count)
            case .dream(let options): max(most, common.blocks(prompt, of: options.blockLength, always: true).count)
            }
        }
    }

    /// Passes that will be made at most.
    public var passes: Int {
        // Under a threshold every pass reveals a token, or (where the mask is allowed) ends a block without one.
        let most = common.allowsMask ? Checked.sum(masks, blocks) : masks
        switch rule {
        case .llada(let options):
            guard options.threshold == nil else { return max(most, blocks &* options.leastSteps) }
            return options.steps ?? (common.fillsPrompts ? masks : common.length)
        case .dream(let options):
            guard options.threshold != nil else { return options.steps ?? masks }
            return options.blockLength == nil ? Checked.sum(options.steps ?? 0, masks) : most
        }
    }

    /// The canvases for a memory: one per sample, and under guidance as many again.
    public var slots: [KeyValueMemory.Slot] {
        let slots = prompts.map { prompt in
            KeyValueMemory.Slot(length: prompt.tokens.count &+ common.length, padding: prompt.padding)
        }
        return guidance > 0 ? slots + slots : slots
    }

    /// The canvases when all is decoded. Every pass goes through the run's methods. Throws `cancelled`, memory errors, and whatever
    /// `network` and `observe` throw.
    public func sample(
        _ network: MaskedNetwork, noise: DecodingNoise, _ run: Run,
        observe: (MaskedProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> [[Int]] {
        switch rule {
        case .llada(let options):
            let rows = prompts.numbered.map { LLaDARow($0.element, options, sample: $0.offset) }
            return try decode(rows, network, noise, run, observe)
        case .dream(let options):
            let rows = prompts.numbered.map { DreamRow($0.element, options, sample: $0.offset) }
            return try decode(rows, network, noise, run, observe)
        }
    }

    private func decode<Row: DecodingRow>(
        _ start: [Row], _ network: MaskedNetwork, _ noise: DecodingNoise, _ run: Run,
        _ observe: (MaskedProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> [[Int]] {
        var (rows, noise) = (start, noise)
        var pass = 0
        while true {
            try run.checkCancel()
            let active = rows.indices.filter { !(rows.at($0)?.isDone ?? true) }
            guard !active.isEmpty else { break }
            var plan = PassPlan()
            for index in active.each {
                guard var row = rows.at(index) else { continue }
                let fed = try run.fed(row.round(run.wantsFixedOrder, &noise))
                let candidates = try row.candidates(fed, &noise)
                plan.add(index, fed, candidates, drawn: row.drawn(candidates, fed))
                rows.put(row, at: index)
            }
            let feeding = try plan.feeding(rows, twins: guidance > 0 ? prompts.count : 0)
            let call = Call(time: 0, index: pass, count: passes, step: pass)
            let states = try run.advance(call) { (_, run) throws(DiffError) in try network.states(feeding, run) }
            let chosen: [ChosenToken]
            do throws(DiffError) {
                chosen = try choose(plan, rows, states, network, &noise, run)
            } catch {
                throw error.code == .notFinite ? error.at("pass \(pass &+ 1) of \(passes)") : error
            }
            var (samples, first): ([MaskedProgress.Sample], Int) = ([], 0)
            for share in plan.shares.each {
                guard var row = rows.at(share.row) else { continue }
                let own = chosen[min(first, chosen.count)..<min(first &+ share.candidates.count, chosen.count)]
                try row.reveal(share.candidates, share.fed, own, &noise)
                first &+= share.candidates.count
                rows.put(row, at: share.row)
                samples.append(
                    MaskedProgress.Sample(
                        sample: share.row, step: row.canvas.step, canvas: row.canvas.tokens,
                        revealed: row.canvas.revealed, fed: share.fed, confidences: row.canvas.confidences))
            }
            try observe(
                MaskedProgress(
                    pass: pass, passes: passes, fedRows: feeding.rows, headRows: feeding.wanted, samples: samples))
            pass &+= 1
        }
        return rows.map(\.canvas.tokens)
    }

    private func choose<Row: DecodingRow>(
        _ plan: PassPlan, _ rows: [Row], _ states: Tensor, _ network: MaskedNetwork, _ noise: inout DecodingNoise,
        _ run: Run
    ) throws(DiffError) -> [ChosenToken] {
        let most = Checked.multiply(masks, prompts.count) ?? .max
        switch rule {
        case .llada(let options):
            let reader = TokenReader(
                network, guidance: options.guidance, forbidden: common.forbidden, isNoisy: options.temperature > 0,
                most: most)
            return try reader.gumbel(plan, states, temperature: options.temperature, &noise, run)
        case .dream(let options):
            let reader = TokenReader(
                network, guidance: 0, forbidden: common.forbidden, isNoisy: options.temperature > 0, most: most)
            return try reader.race(plan, plan.sources(rows), states, options, &noise, run)
        }
    }
}
