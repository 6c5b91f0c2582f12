public import DiffTensor

/// The networks of a run that generates tokens by diffusion, as the sampler asks for them. Used by one thread.
public protocol TokenDiffusionNetworks: AnyObject {
    /// Reads the known tokens of `tokens` [samples, tokens, width] and takes notice of what it says about the wanted ones; positions by
    /// sample, ascending. Conditional rows and, when `guided`, as many unconditional ones.
    func read(
        _ tokens: Tensor, known: [[Int]], wanted: [[Int]], guided: Bool, _ run: Run
    ) throws(DiffError)
    /// How many steps of the head from `step` on can be told at once what ``read(_:known:wanted:guided:_:)`` left; tells them.
    func prepare(from step: Int, _ run: Run) throws(DiffError) -> Int
    /// The head's prediction [rows, 2 · width] for the noisy tokens `x` [n, width] at `step`: conditional rows, then, when guided, those of the
    /// same tokens without condition.
    func predict(_ x: Tensor, step: Int, _ run: Run) throws(DiffError) -> Tensor
}

/// What the sampler tells after each iteration. Return from the observer to continue, throw to stop.
public struct TokenDiffusionProgress {
    /// Iteration just done, and how many there are.
    public let index: Int, count: Int
    /// What it did.
    public let iteration: TokenIteration
    /// The tokens so far [samples, tokens, width], 0 where they are unknown.
    public let tokens: Tensor
    /// Tokens just predicted [n, width], and what they are among all of all samples.
    public let predicted: Tensor, positions: [Int]
}

/// Generation of continuous tokens in random order: in each iteration a network reads the tokens that are known, and a diffusion of a few numbers
/// makes each of the next ones. It knows nothing of networks or methods. Source: `sample_tokens` and `DiffLoss.sample` of LTH14/mar.
public struct TokenDiffusionSampler: Sendable {
    /// The iterations in order.
    public let iterations: [TokenIteration]
    /// The order in which tokens are generated.
    public let order: GenerationOrder
    /// Timesteps and noise levels of the head.
    public let schedule: DiffusionSchedule
    /// What the noise of the head's steps is multiplied by; the start noise is not.
    public let temperature: Double

    /// A sampler of these parts. Throws `invalidArgument` for a temperature that is negative or not finite.
    public init(
        _ iterations: [TokenIteration], _ order: GenerationOrder, _ schedule: DiffusionSchedule, temperature: Double
    ) throws(DiffError) {
        guard temperature.isFinite, temperature >= 0 else {
            throw DiffError(.invalidArgument, "temperature must be 0 or more, found \(temperature)")
        }
        (self.iterations, self.order, self.schedule) = (iterations, order, schedule)
        self.temperature = temperature
    }

    /// The timesteps at which the head is asked, the noisiest first.
    public var headTimesteps: [Int] { Array(schedule.timesteps.reversed()) }

    /// The most tokens of a sample that one iteration predicts.
    public var mostWanted: Int { iterations.each.reduce(0) { max($0, $1.count) } }

    /// The call of iteration `index`.
    public func call(_ index: Int) -> Call {
        Call(time: Float(iterations.at(index)?.after ?? 0), index: index, count: iterations.count, step: index)
    }

    /// All iterations: tokens [samples, tokens, width] out of nothing. Every one goes through the run's methods. Throws `cancelled`, `notFinite`,
    /// memory errors, and whatever the networks and `observe` throw.
    public func sample(
        _ networks: any TokenDiffusionNetworks, _ noise: TokenNoise, width: Int, _ run: Run,
        observe: (TokenDiffusionProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        var noise = noise
        let (samples, count) = (order.positions.count, order.positions.first?.count ?? 0)
        let shape = try Shape(samples, count, width)
        var tokens = try run.zeros(shape)
        for (index, iteration) in iterations.numbered {
            let wanted = order.positions(iteration.after, iteration.count)
            var positions: [Int] = []
            for (sample, list) in wanted.numbered {
                for position in list.each { positions.append(sample &* count &+ position) }
            }
            let made = try run.advance(call(index)) { (_, run) throws(DiffError) in
                try networks.read(
                    tokens, known: order.positions(iteration.before, count &- iteration.before), wanted: wanted,
                    guided: iteration.scale != 1, run)
                return try run.workspace.stretched(iteration.count, to: mostWanted) { () throws(DiffError) in
                    try predicted(networks, positions, iteration, &noise, width, run)
                }
            }
            let rows = try tokens.reshaped(Shape(samples &* count, width))
            tokens = try run.replacedRows(rows, positions, with: made).reshaped(shape)
            try observe(
                TokenDiffusionProgress(
                    index: index, count: iterations.count, iteration: iteration, tokens: tokens, predicted: made,
                    positions: positions))
        }
        return tokens
    }

    /// The head's diffusion of the tokens `positions` of an iteration: [positions.count, width].
    private func predicted(
        _ networks: any TokenDiffusionNetworks, _ positions: [Int], _ iteration: TokenIteration,
        _ noise: inout TokenNoise, _ width: Int, _ run: Run
    ) throws(DiffError) -> Tensor {
        let n = positions.count
        let guidance =
            iteration.scale == 1 ? nil : try Guidance(scale: iteration.scale, channels: .leading(width))
        let rows = guidance == nil ? n : 2 &* n
        let (state, output) = (try Shape(n, width, 1, 1), try Shape(n, 2 &* width, 1, 1))
        var x = try noise.initial(positions, width: width, run)
        var sampler = DDPMSampler(schedule)
        func make(_ step: Int) throws(DiffError) {
            try run.checkCancel()
            var prediction = try networks.predict(x, step: step, run)
            if let guidance {
                prediction = try guidance.combined(
                    prediction.rows(0, n).reshaped(output), prediction.rows(n, n).reshaped(output), run)
            }
            sampler.position = step
            let result = try sampler.step(
                x.reshaped(state), prediction.reshaped(output), run,
                draw: { () throws(DiffError) in
                    let drawn = try noise.next(step, positions, rows: rows, width: width, run)
                    return try (temperature == 1 ? drawn : run.scaled(drawn, Float(temperature))).reshaped(state)
                })
            x = try result.state.reshaped(Shape(n, width))
        }
        var step = 0
        while step < schedule.count {
            let first = step
            let turns = max(1, min(try networks.prepare(from: first, run), schedule.count &- first))
            step = first &+ turns
            // The last step of all adds no noise.
            let isEnd = step == schedule.count
            try run.alike(isEnd ? turns &- 1 : turns) { (turn) throws(DiffError) in try make(first &+ turn) }
            if isEnd { try make(step &- 1) }
        }
        return x
    }
}
