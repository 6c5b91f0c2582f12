import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor

/// Sampling by tokens from a MAR.
struct TokenDiffusionSampling: FamilySampling {
    let network: MAR
    let decoder: LatentDecoder?
    /// Names of the classes.
    let classes: ClassNames
    /// What holds where a request says nothing.
    let own: TokenSettings

    var layouts: [SiteLayout] { [network.layout] }
    var form: RequestForm { TokenRequest.form(network.configuration, classes, own) }

    /// The process that heads are trained on: 1000 steps, ᾱ a squared cosine, epsilon and a learned range of variances.
    static let process = DiffusionProcess(.squaredCosine, 1e-4, 0.02, trainSteps: 1000)

    /// The most rows of a decoder's pass: 4096 samples of 512.
    private static let maxRows = 1 << 22

    /// Checks `asked` against the model. Throws `invalidArgument`, `shape` or `unsupported`.
    @inline(never)
    func job(_ asked: SampleRequest) throws(DiffError) -> any SamplingJob {
        let c = network.configuration
        let reader = try RequestReader(asked, form)
        let request = try TokenRequest(reader, c, classes)
        let n = request.labels.count
        // Where every row comes from is kept in arrays, whose memory cannot be refused in order.
        guard let rows = Checked.multiply(2 &* n, c.rows), rows <= Self.maxRows else {
            throw DiffError(
                .unsupported,
                "\(n) samples of \(c.rows) rows each, with guidance twice as many, are more than \(Self.maxRows) at once: ask for fewer samples"
            )
        }
        var generator = TorchRandom(seed: request.seed)
        let order: GenerationOrder
        if let given = reader.integers("order") {
            order = try Self.order(given, samples: n, tokens: c.tokens)
        } else {
            order = GenerationOrder(
                samples: n, tokens: c.tokens, request.order, seed: request.seed, &generator)
        }
        let iterations = try TokenIteration.all(
            tokens: c.tokens, iterations: request.iterations, guidance: request.guidance, request.schedule)
        let schedule = try DiffusionSchedule(Self.process, request.spacing)
        let process = try TokenDiffusionSampler(iterations, order, schedule, temperature: request.temperature)
        guard !request.previews || decoder != nil else {
            throw DiffError(
                .unsupported, "previews need the autoencoder: put it into a folder vae, or name it as decoder")
        }
        return TokenDiffusionJob(
            network: network, process: process, source: try noise(reader, generator, samples: n, schedule.count),
            labels: request.labels, seed: request.seed, isGuided: request.guidance != 1,
            decoder: request.decode ? decoder : nil, tiling: request.tiling,
            previewer: request.previews ? decoder : nil)
    }

    private static func order(
        _ given: (values: [Int], shape: Shape), samples: Int, tokens: Int
    ) throws(DiffError) -> GenerationOrder {
        guard given.shape == (try Shape(samples, tokens)) else {
            throw DiffError(
                .shape, "request: the tensor \"order\" is \(given.shape), expected [\(samples), \(tokens)]")
        }
        var orders: [[Int]] = []
        for sample in Indices(below: samples) {
            var one: [Int] = []
            for index in Indices(below: tokens) { one.append(given.values.at(sample &* tokens &+ index) ?? 0) }
            orders.append(one)
        }
        return try GenerationOrder(orders, tokens: tokens)
    }

    /// The noise of a run, that of the caller as tokens.
    private func noise(
        _ reader: RequestReader, _ generator: TorchRandom, samples n: Int, _ steps: Int
    ) throws(DiffError) -> TokenNoise {
        let c = network.configuration
        let run = Run(pool: nil, budget: nil)
        let one = try Shape(n, c.channels, c.side, c.side)
        let start = try reader.floats("noise", one).map { (x) throws(DiffError) in
            try run.patchify(x, patch: c.patchSize)
        }
        let given = try reader.floats("step_noise", Shape([steps] + one.dims)).map { (x) throws(DiffError) in
            let all = try x.reshaped(Shape(steps &* n, c.channels, c.side, c.side))
            return try run.patchify(all, patch: c.patchSize).reshaped(Shape(steps, n, c.tokens, c.tokenWidth))
        }
        return TokenNoise(generator, start: start, steps: given)
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(["labels": [0], "guidance": 1, "decode": false])
        request["steps"] = steps.map { .integer($0) }
        return request
    }

    /// Those of all tokens of one picture without guidance, by the iteration.
    func flopsPerCall() throws(DiffError) -> Double {
        let dryRun = try DryRun(job(previewRequest(steps: nil)), Plan(), threads: 1)
        return dryRun.flops / Double(max(1, dryRun.trace.calls))
    }
}
