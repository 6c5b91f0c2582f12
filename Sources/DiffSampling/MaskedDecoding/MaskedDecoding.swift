public import DiffTensor

/// What masked decoding tells after each pass. Return from the observer to continue, throw to stop.
public struct MaskedProgress: Sendable {
    /// One sample that took part in the pass.
    public struct Sample: Sendable {
        /// Number of the sample in the batch.
        public let sample: Int
        /// Passes it has made, this one included.
        public let step: Int
        /// Tokens of the whole sequence, prompt included.
        public let sequence: [Int]
        /// Positions written by this step, in the order of revelation.
        public let revealed: [Int]
        /// Positions that the pass computed.
        public let queries: PositionSet
        /// Confidences compared by this step, by position; empty when none were.
        public let confidences: [Double]
    }

    /// Number of the pass over the batch.
    public let pass: Int
    /// Passes that will be made at most.
    public let passes: Int
    /// Rows that the network computed and rows that went through its head.
    public let queryRows: Int, headRows: Int
    /// The samples of this pass.
    public let samples: [Sample]
}

/// Masked decoding of a batch: which positions a pass computes and which tokens it reveals. Knows no network and no method.
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

    /// Masked positions of one sequence at most.
    private var masks: Int { prompts.each.reduce(0) { max($0, common.masks($1)) } }

    /// Blocks of one sequence at most.
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

    /// Length and padding of the sequences in a pass: one per prompt, and under guidance as many again.
    public var sequences: [(length: Int, padding: Int)] {
        let own = prompts.map { (length: $0.tokens.count &+ common.length, padding: $0.padding) }
        return guidance > 0 ? own + own : own
    }

    /// The sequences when all is decoded. Every pass goes through the run's methods. Throws `cancelled`, memory errors, and whatever
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
        let methods = run.methods((any PositionSelection).self)
        let fixesOrder = methods.each.contains { $0.fixesOrder }
        var pass = 0
        while true {
            try run.checkCancel()
            let active = rows.indices.filter { !(rows.at($0)?.isDone ?? true) }
            guard !active.isEmpty else { break }
            var plan = PassPlan()
            for index in active.each {
                guard var row = rows.at(index) else { continue }
                let queries = try row.round(fixesOrder, &noise).queries(methods)
                let candidates = try row.candidates(queries, &noise)
                plan.add(index, queries, candidates, drawn: row.drawn(candidates, queries))
                rows.put(row, at: index)
            }
            let input = plan.pass(rows, isGuided: guidance > 0)
            let call = Call(time: 0, index: pass, count: passes, step: pass)
            let states = try run.advance(call) { (_, run) throws(DiffError) in try network.states(input, run) }
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
                try row.reveal(share.candidates, share.queries, own, &noise)
                first &+= share.candidates.count
                rows.put(row, at: share.row)
                samples.append(
                    MaskedProgress.Sample(
                        sample: share.row, step: row.sequence.step, sequence: row.sequence.tokens,
                        revealed: row.sequence.revealed, queries: share.queries,
                        confidences: row.sequence.confidences))
            }
            try observe(
                MaskedProgress(
                    pass: pass, passes: passes, queryRows: input.queryRows, headRows: input.wantedRows, samples: samples
                ))
            pass &+= 1
        }
        return rows.map(\.sequence.tokens)
    }

    private func choose<Row: DecodingRow>(
        _ plan: PassPlan, _ rows: [Row], _ states: Tensor, _ network: MaskedNetwork, _ noise: inout DecodingNoise,
        _ run: Run
    ) throws(DiffError) -> [ChosenToken] {
        let most = Checked.multiply(masks, prompts.count) ?? .max
        switch rule {
        case .llada(let options):
            let reader = TokenReader(
                network, guidance: try options.guided, forbidden: common.forbidden, isNoisy: options.temperature > 0,
                most: most)
            return try reader.gumbel(plan, states, temperature: options.temperature, &noise, run)
        case .dream(let options):
            let reader = TokenReader(
                network, guidance: nil, forbidden: common.forbidden, isNoisy: options.temperature > 0, most: most)
            return try reader.race(plan, plan.sources(rows), states, options, &noise, run)
        }
    }
}
