import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

/// `dkv_*`: LLaDA and Dream, a plain forward pass and generation runs with and without caches.
///
/// Every run goes through the library's decoder, plan entries and model; a step whose logits are recorded is evaluated twice: with
/// all rows wanted, for the comparison, and as the decoder asked, which must give the same bits for the rows it wanted.
enum GoldenMasked {
    /// NOTES.md: largest difference of logits, hidden states and confidences.
    static let values = GoldenTolerance.absolute(1e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let configuration = try LanguageConfiguration(fixture.config.object("model"))
        let checkpoint = try Checkpoint.open(
            path: fixture.path, config: .object(fixture.config.object("model").members))
        let model = try LanguageModel(configuration, checkpoint.weights())
        try forward(fixture, model, &report)
        for (index, settings) in try fixture.config.objects("runs").enumerated() {
            try GoldenMaskedRun(fixture, model, settings, name: "run\(index)").check(&report)
        }
    }

    private static func forward(
        _ fixture: GoldenFixture, _ model: LanguageModel, _ report: inout GoldenReport
    ) throws {
        guard fixture.has("fwd.input_ids") else { return }
        report.uses("fwd.input_ids")
        let shape = try fixture.shape("fwd.input_ids")
        let ids = try fixture.integers("fwd.input_ids")
        let all = Array(repeating: PositionSet(all: shape[1]), count: shape[0])
        let sequences = (0..<shape[0]).map { row in Array(ids.dropFirst(row * shape[1]).prefix(shape[1])) }
        let probe = SiteProbe()
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: AccelerationStack([probe]))
        try run.begin(SamplingContext(layouts: [model.layout], calls: 1, rows: shape[0]))
        let memory = try model.memory(Array(repeating: .init(length: shape[1]), count: shape[0]), run)
        let states = try model.states(sequences, queries: all, wanted: all, memory, run)
        let blocks = model.layout.sites(.block).map { model.layout.info($0).name }
        for (index, name) in blocks.enumerated() {
            guard let input = probe.input(name) else { continue }
            try report.compare("fwd.hidden\(index)", input.array, values)
        }
        try report.compare("fwd.hidden\(blocks.count)", model.normalised(states, run).array, values)
        try report.compare("fwd.logits", model.logits(states, run).array, values)
    }
}

/// One generation run of a fixture.
struct GoldenMaskedRun {
    let fixture: GoldenFixture
    let model: LanguageModel
    let settings: JSONObject
    let name: String
    private let mask: Int
    private let batch: Int, promptLength: Int
    private let prompts: [MaskedPrompt]
    private let method: String

    init(_ fixture: GoldenFixture, _ model: LanguageModel, _ settings: JSONObject, name: String) throws {
        (self.fixture, self.model, self.settings, self.name) = (fixture, model, settings, name)
        mask = try fixture.config.integer("mask_id", in: 0...1_000_000)
        let shape = try fixture.shape("\(name).prompt")
        (batch, promptLength) = (shape[0], shape[1])
        let tokens = try fixture.integers("\(name).prompt")
        let seen = "\(name).attention_mask"
        let padding = fixture.has(seen) ? try fixture.integers(seen) : tokens.map { _ in 1 }
        let width = shape[1]
        prompts = (0..<shape[0]).map { row in
            let range = (row * width)..<((row + 1) * width)
            return MaskedPrompt(Array(tokens[range]), padding: padding[range].prefix { $0 == 0 }.count)
        }
        method = try settings.string("method")
    }

    // MARK: Settings

    private func noise() throws -> DecodingNoise {
        func floats(_ key: String) throws -> [Double] {
            fixture.has("\(name).\(key)") ? try fixture.doubles("\(name).\(key)") : []
        }
        return DecodingNoise(
            uniforms: try floats("rand").map { Float($0) }, gumbel: try floats("u"),
            exponentials: try floats("expo").map { Float($0) })
    }

    private func plan() throws -> Plan {
        func entry(_ variant: String, _ members: [String: JSON] = [:]) throws -> Plan {
            var entry = members
            entry["method"] = .string("dkv")
            entry["variant"] = .string(variant)
            return try Plan(.object(entry), source: name)
        }
        var members: [String: JSON] = [:]
        if let refresh = try settings.optionalInteger("cache_interval", in: 1...1_000_000) {
            members["refresh"] = .integer(refresh)
        }
        if let shift = try settings.optionalString("shift_type") { members["shift"] = .string(shift) }
        switch method {
        case "plain", "fast_plain": return Plan()
        case "decode", "decoded": return try entry("decode", members)
        case "greedy":
            members["window"] = .integer(try settings.integer("window_size", in: 0...1000, default: 0))
            return try entry("greedy", members)
        case "prefill": return try entry("prefill")
        case "pd": return try entry("pd", members)
        case "fast_prefix": return try entry("prefix")
        case "fast_dual": return try entry("dual")
        default: throw DiffError(.unsupported, "method \(method)")
        }
    }

    private func decoding() throws -> MaskedDecoding {
        let temperature = try settings.number("temperature", in: 0...100, default: 0)
        if model.configuration.family != .dream {
            var options = LLaDAOptions(try common("gen_length"))
            options.steps = try settings.optionalInteger("steps", in: 1...100_000)
            options.blockLength = try settings.integer("block_length", in: 1...100_000)
            options.temperature = temperature
            options.guidance = try settings.number("cfg_scale", in: 0...100, default: 0)
            options.threshold = try settings.optionalNumber("threshold", in: 0...1)
            // The published loops with a cache make one more pass after the first, whatever it revealed.
            options.leastSteps = ["fast_prefix", "fast_dual"].contains(method) ? 2 : 1
            let remasking = try settings.string("remasking")
            guard let order = LLaDAOptions.Remasking(rawValue: remasking) else {
                throw DiffError(.unsupported, "remasking \(remasking)")
            }
            options.remasking = order
            return try MaskedDecoding(prompts, options)
        }
        return try MaskedDecoding(prompts, dreamOptions())
    }

    private func common(_ length: String) throws -> MaskedCommon {
        MaskedCommon(
            maskToken: mask, length: try settings.integer(length, in: 0...100_000),
            infills: try settings.bool("infill", default: false))
    }

    private func dreamOptions() throws -> DreamOptions {
        var options = DreamOptions(try common("max_new_tokens"))
        options.steps = try settings.optionalInteger("steps", in: 1...100_000)
        options.blockLength = try settings.optionalInteger("block_length", in: 1...100_000)
        options.threshold = try settings.optionalNumber("threshold", in: 0...1)
        options.eps = try settings.number("eps", in: 0...1, default: 1e-3)
        options.temperature = try settings.number("temperature", in: 0...100, default: 0)
        options.algorithmTemperature = try settings.number("alg_temp", in: 0...100, default: 0)
        options.topP = try settings.number("top_p", in: 0...1, default: 1)
        options.topK = try settings.integer("top_k", in: 0...1_000_000, default: 0)
        var algorithm = try settings.string("alg")
        // Fast-dLLM's name for thresholds on probabilities.
        if algorithm == "confidence_threshold" { algorithm = DreamOptions.Algorithm.maskGIT.rawValue }
        guard let value = DreamOptions.Algorithm(rawValue: algorithm) else {
            throw DiffError(.unsupported, "alg \(algorithm)")
        }
        options.algorithm = value
        return options
    }

    // MARK: The run

    func check(_ report: inout GoldenReport) throws {
        for key in ["prompt", "attention_mask", "rand", "rand_offsets", "u", "u_offsets", "expo", "expo_offsets"]
        where fixture.has("\(name).\(key)") { report.uses("\(name).\(key)") }
        let decoding = try decoding()
        let plan = try plan()
        try plan.check([model.layout])
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: plan.makeStack())
        try run.begin(
            SamplingContext(layouts: [model.layout], calls: decoding.passes, rows: batch))
        let memory = try model.memory(
            decoding.sequences.map { KeyValueMemory.Sequence(length: $0.length, padding: $0.padding) }, run)
        var record = Record(batch: batch, mask: mask)
        let steps = Set(try settings.integers("logits_steps", in: 0...1_000_000, default: []))
        var logits: [Float] = []
        var pass = 0
        let guidance = try settings.number("cfg_scale", in: 0...100, default: 0)
        let network = MaskedNetwork(
            vocabulary: model.configuration.vocabulary,
            states: { [model] (input, run) throws(DiffError) in
                defer { pass += 1 }
                func states(_ wanted: [PositionSet]) throws(DiffError) -> Tensor {
                    try model.states(input.sequences, queries: input.queries, wanted: wanted, memory, run)
                }
                guard steps.contains(pass) else { return try states(input.wanted) }
                let all = try states(input.queries)
                logits += try guided(model.logits(all, run), guidance, run).array
                var (rows, first): ([Int], Int) = ([], 0)
                for (queries, wanted) in zip(input.queries, input.wanted) {
                    rows += (queries.ranks(of: wanted) ?? []).map { first + $0 }
                    first += queries.count
                }
                let wanted = try run.gatherRows(all, rows).array
                let again = try states(input.wanted)
                guard sameBits(again.array, wanted) else {
                    throw DiffError(.internal, "rows wanted alone have other bits than with all")
                }
                return again
            },
            logits: { [model] (states, run) throws(DiffError) in try model.logits(states, run) })
        let final = try decoding.sample(network, noise: noise(), run) { (progress) throws(DiffError) in
            record.add(progress)
        }
        try compare(record, final, logits, steps, &report)
    }

    private func compare(
        _ record: Record, _ final: [[Int]], _ logits: [Float], _ steps: Set<Int>, _ report: inout GoldenReport
    ) throws {
        let start = prompts.flatMap { prompt in
            prompt.tokens + Array(repeating: mask, count: (final.first?.count ?? 0) - promptLength)
        }
        try report.compare("\(name).grid", integers: start + record.sequences.flatMap(\.self))
        try report.compare("\(name).final", integers: final.flatMap(\.self))
        try report.compare(
            "\(name).fed", integers: record.queries.flatMap { set in (0..<set.length).map { set.contains($0) ? 1 : 0 } }
        )
        try report.compare("\(name).kv_step", integers: record.ages)
        try report.compare("\(name).n_transfer", integers: record.transferred)
        if fixture.has("\(name).timesteps") {
            let steps = try dreamOptions().steps ?? 1
            try report.compare("\(name).timesteps", dreamOptions().timesteps(steps), .exact)
        }
        if fixture.has("\(name).conf") {
            // A step that compares nothing has no confidences, recorded as NaN.
            let positions = final.first?.count ?? 0
            let confidences = record.confidences.flatMap { row in
                row.isEmpty ? Array(repeating: Double.nan, count: positions) : row
            }
            try report.compare("\(name).conf", confidences, GoldenMasked.values)
        }
        if fixture.has("\(name).nfe") { report.leaves("\(name).nfe", because: "compared with the config") }
        if let calls = try settings.optionalInteger("nfe", in: 0...1_000_000), calls != record.sequences.count {
            report.fail("\(name).nfe", "\(record.sequences.count) passes, recorded \(calls)")
        }
        if let ratio = try settings.optionalNumber("cache_ratio_run_over_total", in: 0...1) {
            let found =
                Double(record.queries.reduce(0) { $0 + $1.count })
                / Double(max(1, record.queries.reduce(0) { $0 + $1.length }))
            if abs(found - ratio) > 1e-6 { report.fail("\(name).cache_ratio", "found \(found), recorded \(ratio)") }
        }
        try compare(logits: logits, record, steps, &report)
    }

    /// Results at padding positions mean nothing, and the library does not compute them: the recorded values stand in.
    private func compare(
        logits: [Float], _ record: Record, _ steps: Set<Int>, _ report: inout GoldenReport
    ) throws {
        let recorded = try fixture.floats("\(name).logits")
        let vocabulary = model.configuration.vocabulary
        var filled: [Float] = []
        var next = 0
        for step in steps.sorted() where step * batch < record.queries.count {
            for row in 0..<batch {
                for position in record.queries[step * batch + row].positions {
                    if position < prompts[row].padding {
                        filled += recorded.dropFirst(filled.count).prefix(vocabulary)
                    } else {
                        filled += logits.dropFirst(next * vocabulary).prefix(vocabulary)
                        next += 1
                    }
                }
            }
        }
        try report.compare("\(name).logits", filled, GoldenMasked.values)
    }

    /// What the decoder told, in the fixture's order: step by step, row by row.
    private struct Record {
        let batch: Int, mask: Int
        var sequences: [[Int]] = []
        var queries: [PositionSet] = []
        var confidences: [[Double]] = []
        var transferred: [Int] = []
        var ages: [Int] = []
        private var age: [[Int]] = []

        init(batch: Int, mask: Int) { (self.batch, self.mask) = (batch, mask) }

        mutating func add(_ progress: MaskedProgress) {
            sequences.append(progress.samples.flatMap(\.sequence))
            for sample in progress.samples {
                while age.count <= sample.sample { age.append(Array(repeating: 0, count: sample.sequence.count)) }
                queries.append(sample.queries)
                confidences.append(sample.confidences)
                // Where the model chose the mask itself nothing changed.
                transferred.append(sample.revealed.filter { sample.sequence[$0] != mask }.count)
                for position in sample.queries.positions { age[sample.sample][position] = progress.pass }
                ages += age[sample.sample]
            }
        }
    }
}
