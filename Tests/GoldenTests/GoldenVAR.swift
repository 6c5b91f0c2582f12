import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// Tolerances of the `code-*` fixtures: NOTES.md, largest difference of a float32 implementation.
enum CodeTolerance {
    static let logits = GoldenTolerance.absolute(2e-4)
    static let hidden = GoldenTolerance.absolute(3e-4)
    static let maps = GoldenTolerance.absolute(3e-5)
    static let images = GoldenTolerance.absolute(1e-4)
    static let features = GoldenTolerance.absolute(1e-4)
    static let resampling = GoldenTolerance.absolute(1e-5)
    static let losses = GoldenTolerance.absolute(1e-5)
    static let smoothLogits = GoldenTolerance.absolute(2e-3)
    static let smoothMaps = GoldenTolerance.absolute(1e-3)
    static let smoothImages = GoldenTolerance.absolute(3e-4)
}

/// `code-var`: the official VAR, teacher-forced and sampling in every way it has.
enum GoldenVAR {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let parts = try CodeFixture(fixture)
        let network = try parts.network("var")
        report.uses("label")
        try teacherForcing(parts, network, &report)
        for name in try parts.cases {
            let options = try CodeOptions(parts, name, name)
            let draws = try parts.draws(name, &report)
            let probe = CodeProbe()
            let outcome = try CodeRun(parts, [network], options, draws, probe)
            try outcome.compare(name, &report)
            try inside(name, outcome, probe, network, &report)
            // What the library draws from a seed is what the published code draws.
            if let seed = options.seed {
                let seeded = try CodeRun(parts, [network], options, ScaleDraws(seed: seed), CodeProbe())
                for (scale, tokens) in seeded.tokens.enumerated() {
                    try report.compare("\(name).idx.\(scale)", integers: tokens)
                }
                if options.sampler.moreSmooth {
                    let last = parts.schedule.count - 1
                    try report.compare("\(name).f_hat.\(last)", seeded.states[last], CodeTolerance.smoothMaps)
                }
            }
        }
    }

    /// Inputs and outputs of the blocks at each scale, and the caches after the last one, where the case `name` has them.
    private static func inside(
        _ name: String, _ outcome: CodeRun, _ probe: CodeProbe, _ network: VAR, _ report: inout GoldenReport
    ) throws {
        let fixture = report.fixture
        let last = network.configuration.depth - 1
        for scale in 0..<network.configuration.schedule.count where fixture.has("\(name).x_in.\(scale)") {
            try report.compare("\(name).x_in.\(scale)", probe.input(scale, "blocks.0"), CodeTolerance.maps)
            try report.compare("\(name).x_out.\(scale)", probe.output(scale, "blocks.\(last)"), CodeTolerance.hidden)
        }
        for key in fixture.keys("\(name).cache_") {
            guard let cache = outcome.cache(key, network: 0) else {
                report.fail(key, "no cache")
                continue
            }
            try report.compare(key, CodeRun.byHead(cache, network), CodeTolerance.hidden)
        }
    }

    // MARK: tf: teacher forcing

    private static func teacherForcing(_ parts: CodeFixture, _ network: VAR, _ report: inout GoldenReport) throws {
        let fixture = parts.fixture
        report.uses("tf.gt_idx")
        let tokens = try parts.scales(fixture.integers("tf.gt_idx"))
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil)
        let states = try parts.codes.states(tokens, run)
        try report.compare("tf.f_hats_gt", states.flatMap(\.array), CodeTolerance.maps)
        let codes = try parts.codes.teacherCodes(states, run)
        try report.compare("tf.x_BLCv_wo_first_l", codes, CodeTolerance.maps)

        let probe = CodeProbe()
        let traced = Run(pool: nil, budget: nil, stack: AccelerationStack([probe]))
        try traced.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: 1))
        let logits = try network(codes, labels: parts.labels, traced)
        try report.compare("tf.logits", logits, CodeTolerance.logits)
        for block in 0..<network.configuration.depth {
            for (key, tensor) in [
                ("tf.block\(block)_in", try probe.input(0, "blocks.\(block)")),
                ("tf.block\(block)_out", try probe.output(0, "blocks.\(block)")),
            ] where fixture.has(key) {
                let isSum = block == 0 && key.hasSuffix("_in")
                try report.compare(key, tensor, isSum ? CodeTolerance.maps : CodeTolerance.hidden)
            }
        }
        let null = network.configuration.nullClass
        try report.compare(
            "tf.logits_uncond", network(codes, labels: parts.labels.map { _ in null }, run), CodeTolerance.logits)
        let losses = try run.tokenCosts(
            of: logits, teacher: nil, targets: fixture.integers("tf.gt_idx"),
            TokenCosting(temperature: 1, smoothing: 0, divergenceWeight: 0, entropyWeight: 1),
            writingTo: run.workspace.take(logits.shape)
        ).entropies
        try report.compare("tf.ce_per_token", losses, CodeTolerance.losses)
        try report.compare("tf.ce_train_loss", [losses.reduce(0, +) / Double(losses.count)], CodeTolerance.losses)
    }
}

/// A model with its VQ-VAE, as a `code-*` fixture keeps them.
struct CodeFixture {
    let fixture: GoldenFixture
    let schedule: ScaleSchedule
    let autoencoder: VQVAE
    let labels: [Int]
    var codes: ScaleQuantizer { autoencoder.codes }

    init(_ fixture: GoldenFixture) throws {
        self.fixture = fixture
        schedule = try ScaleSchedule(fixture.config.integers("patch_nums", in: 1...ScaleSchedule.maxSide))
        let weights = try Self.weights(fixture, "vae")
        guard let config = try fixture.config.optionalObject("vae") else { throw DiffError(.format, "no vae") }
        autoencoder = try VQVAE(VQVAEConfiguration(config, weights), weights, schedule: schedule)
        labels = fixture.has("label") ? try fixture.integers("label") : []
    }

    static func weights(_ fixture: GoldenFixture, _ part: String, learning: Parameters? = nil) throws -> Weights {
        let table = try TensorTable(FileBytes(path: "\(fixture.path)/weights.\(part).safetensors"))
        return Weights(table, options: Weights.Options(parameters: learning))
    }

    /// The transformer `part`, for learning when there are parameters. Its sizes are read off the tensors, the options off the config.
    func network(_ part: String, learning: Parameters? = nil) throws -> VAR {
        let weights = try Self.weights(fixture, part, learning: learning)
        guard let config = try fixture.config.optionalObject(part),
            case .object(var members) = JSON.object(config.members)
        else { throw DiffError(.format, "no \(part)") }
        members["patch_nums"] = .array(schedule.sides.map { .integer($0) })
        let full = try VARConfiguration(JSONObject(.object(members), source: part), weights)
        // What the shapes alone tell must be the same. They tell the heads only where these are normalised.
        if full.normalisesHeads {
            members = members.filter { ["patch_nums", "norm_eps"].contains($0.key) }
            let inferred = try VARConfiguration(JSONObject(.object(members), source: part), weights)
            guard full == inferred else {
                throw DiffError(.internal, "\(part): inferred \(inferred), configured \(full)")
            }
        }
        return try VAR(full, weights)
    }

    /// Tokens [batch, all] as one list per scale, samples one after the other.
    func scales(_ flat: [Int]) -> [[Int]] {
        let batch = flat.count / schedule.tokens
        return (0..<schedule.count).map { scale in
            (0..<batch).flatMap { sample in
                let at = sample * schedule.tokens + schedule.offset(scale)
                return flat[at..<at + schedule.length(scale)]
            }
        }
    }

    /// Names of the sampling cases in the config.
    var cases: [String] {
        get throws { try fixture.config.optionalObject("sampling")?.keys ?? [] }
    }

    /// Recorded draws of the case `key`: times, times and mixtures, or uniforms; a seed that does not matter when there are none.
    func draws(_ key: String, _ report: inout GoldenReport) throws -> ScaleDraws {
        func all(_ name: String) throws -> [Tensor] {
            try (0..<schedule.count).map { scale in
                report.uses("\(key).\(name).\(scale)")
                return try fixture.tensor("\(key).\(name).\(scale)")
            }
        }
        if fixture.has("\(key).u.0") { return ScaleDraws(uniforms: try all("u")) }
        guard fixture.has("\(key).q.0") else { return ScaleDraws(seed: 1) }
        return ScaleDraws(times: try all("q"), mixtures: fixture.has("\(key).e.0") ? try all("e") : [])
    }
}

/// The sampling settings of one case.
struct CodeOptions {
    let sampler: NextScaleSampler
    let seed: UInt64?

    /// Those of the config's case `name`, whose records begin with `key`. Without recorded draws there is nothing to choose.
    init(_ parts: CodeFixture, _ name: String, _ key: String) throws {
        guard let all = try parts.fixture.config.optionalObject("sampling"), let c = try all.optionalObject(name) else {
            throw DiffError(.format, "no sampling.\(name)")
        }
        let count = parts.schedule.count
        let isDrawn = parts.fixture.has("\(key).u.0") || parts.fixture.has("\(key).q.0")
        var topK = [Int](repeating: isDrawn ? 0 : 1, count: count)
        if c.has("top_k") {
            if let one = try? c.integer("top_k", in: 0...1_000_000) {
                topK = [Int](repeating: one, count: count)
            } else {
                topK = try c.integers("top_k", in: 0...1_000_000)
            }
        }
        var temperature = [Double](repeating: 1, count: count)
        if c.has("temp") {
            if let one = try? c.number("temp", in: 0.001...1000) {
                temperature = [Double](repeating: one, count: count)
            } else {
                temperature = try c.numbers("temp", in: 0.001...1000)
            }
        }
        let topP = try c.number("top_p", in: 0...1, default: 0)
        let steps = parts.schedule.sides.enumerated().map { scale, side in
            ScaleStep(
                side: side,
                truncation: Truncation(topK: topK[scale], topP: topP, temperature: Float(temperature[scale])))
        }
        sampler = try NextScaleSampler(
            steps, guidance: c.number("cfg", in: 0...1000), moreSmooth: parts.fixture.has("\(key).e.0"))
        seed = c.has("g_seed") ? UInt64(try c.integer("g_seed", in: 0...Int(UInt32.max))) : nil
    }
}
