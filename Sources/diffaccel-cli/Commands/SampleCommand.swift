import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// `diffaccel sample`: images (or latents) of chosen classes, sounds, or texts.
struct SampleCommand: RequestCommand {
    static let words = ["sample"]

    static let configuration = CommandConfiguration(
        commandName: "sample",
        abstract: "Samples from a model: images, latents, sounds, texts.",
        usage: "diffaccel sample <model> [--plan <plan>] [--OPTION <value> ...] [<options>]",
        discussion: """
            Examples:
              diffaccel sample Models/emoji-sd --prompt "red apple" --steps 20 --out apple.png
              diffaccel sample stable-diffusion-v1-5 --prompt "a castle" --lora lcm.safetensors --sampler lcm --steps 4 --guidance 1
              diffaccel sample Models/emoji-sd --prompt "green apple" --init-image apple.png --strength 0.6 --out green.png
              diffaccel sample audioldm2-music --prompt "a slow melody on a flute" --seconds 20 --out flute.wav
              diffaccel sample Models/fashion-dit --labels 3,5 --count 4 --steps 50 --plan alternate --out grid.png
              diffaccel sample Models/tiny-llada --prompt "And it came to pass" --length 32 --plan dkv:decode:8 --live
              diffaccel sample LLaDA-8B-Base --prompt "The ___ of France is Paris." --blank ___ --length 0

            \(RequestOptionGroup.discussion)

            Each class is a row of the grid, and so is each prompt of which there are several pictures. Pictures of prompts have seeds of \
            their own, --seed and those that follow it, and carry what they were made with. Texts go to standard output; --prompt - reads \
            standard input, and several --prompt make a batch. The first Ctrl-C stops the run, the second one ends the program at once.
            """)

    @Argument(help: "Folder of a model.")
    var model: String

    @Option(help: ArgumentHelp(NamedPlan.help + " dkv caches keys and values.", valueName: "plan"))
    var plan: String?

    @Option(
        help:
            "Who evaluates the components of the plan \"async\": sequential, threads, or mpi, started as mpirun -n 2 diffaccel sample ..."
    )
    var executor: AsyncPlan.Executor?

    @OptionGroup(title: "Request") var request: RequestOptionGroup

    @OptionGroup(title: "Pictures from prompts") var pictures: PictureOptionGroup

    @OptionGroup(title: "Outputs") var outputs: SampleOutputs

    @Flag(help: "Show a text as it appears.")
    var live = false

    @Flag(help: "Only report what the run would need.")
    var estimate = false

    @Flag(help: "Print JSON: statistics, texts; no progress bar.")
    var json = false

    @Flag(help: "No progress bar and no statistics.")
    var quiet = false

    @OptionGroup(title: "Session") var sessionOptions: SessionOptionGroup
    @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup
    @OptionGroup(title: "Model options") var partnerOptions: PartnerOptionGroup

    func run() throws {
        if !estimate { try outputs.reserve(besidesJSON: json) }
        var plan = NamedPlan.plain
        if let name = self.plan { plan = try NamedPlan.read(name, executor) }
        let model = try modelOptions.open(
            self.model, ranks: plan.plan.ranked == nil ? nil : plan.plan, allDecode: self.request.hasPartsToDecode)
        let facts = ModelFacts(model)
        try outputs.refuse(besides: facts)
        guard !live || facts.writesText else { throw UsageError("--live is for models that write text") }
        var request = try self.request.request(facts, by: Self.self)
        try pictures.apply(to: &request, facts)
        if facts.decodes { try outputs.decide(&request, facts) }
        let session = try sessionOptions.session(
            model, plan.plan, partner: partnerOptions.open(modelOptions))
        if estimate {
            if facts.decodes, !facts.hasDecoder { request["decode"] = false }
            return try printEstimate(session, request, facts)
        }
        guard !facts.writesText else {
            return try TextRun(
                session: session, plan: plan.name, request: request, isLive: live, isJSON: json, isQuiet: quiet
            ).perform()
        }
        try outputs.check(facts, model.path, samples: request.samples)
        let collected = try sample(session, Batches.split(request, size: self.request.batch, facts, session))
        let rows = facts.perPrompt.map { request[$0]?.asInt ?? 1 } ?? self.request.rows
        // The result of the others is the same, and nobody's.
        guard collected.statistics?.rank ?? 0 == 0 else { return }
        let written = try outputs.write(collected, facts, request.names(), rows: rows)
        guard let statistics = collected.statistics else { return }
        if json {
            var members: [String: JSON] = [
                "model": .string(model.path), "plan": .string(plan.name), "statistics": statistics.json,
                "seed": .string(String(request.seed)), "files": .array(written.map { .string($0) }),
            ]
            if facts.perPrompt == nil { members["labels"] = .array(request.labels.map { .integer($0) }) }
            JSON.object(members).print()
        } else if !quiet {
            printStatistics(statistics, samples: request.samples, written)
        }
    }

    private func sample(_ session: Session, _ requests: [SampleRequest]) throws(DiffError) -> Collected {
        let bar = ProgressBar(isWanted: !json && !quiet)
        var collected = Collected()
        for (index, request) in requests.enumerated() {
            try collected.append(
                session.sample(request) { event in
                    // The units of a stage, over all batches.
                    let done = index * event.steps + event.step
                    bar.show(done, of: requests.count * event.steps, event.stage.word)
                    return .continue
                })
        }
        bar.clear()
        return collected
    }

    private func printEstimate(_ session: Session, _ request: SampleRequest, _ facts: ModelFacts) throws(DiffError) {
        let first = try Batches.split(request, size: self.request.batch, facts, session)[0]
        let estimate = try session.estimate(first)
        let scale = Double(request.samples) / Double(max(1, first.samples))
        if json { return estimate.json.print() }
        var rows = [
            ("samples", "\(request.samples), \(first.samples) at a time"),
            ("weights", Format.bytes(estimate.weights)),
            ("memory beside them", "\(Format.bytes(estimate.peak)), of it caches \(Format.bytes(estimate.cache))"),
            ("arithmetic", (estimate.isUpperBound ? "at most " : "") + Format.flops(estimate.flops * scale)),
            ("without plan", Format.flops(estimate.baselineFlops * scale)),
        ]
        if estimate.sites.all > 0 {
            rows.append(("sites computed", "\(estimate.sites.computed) of \(estimate.sites.all)"))
        }
        Facts.print(rows)
    }

    private func printStatistics(_ statistics: SampleStatistics, samples: Int, _ files: [String]) {
        let sites = statistics.sites
        let decoding = [("encoding", statistics.encodeSeconds), ("decoding", statistics.decodeSeconds)].map {
            stage, seconds in
            seconds >= 0.01 ? ", of it \(stage) \(Format.fixed(seconds, 2))" : ""
        }.joined()
        var rows = [
            ("samples", "\(samples) in \(statistics.steps.count) network calls (\(statistics.sampler))"),
            ("seconds", Format.fixed(statistics.seconds, 2) + decoding + " (\(statistics.threads) threads)"),
            (
                "sites",
                "\(sites.computed) computed, \(sites.reused) reused, \(sites.skipped) skipped of \(sites.all) "
                    + "(\(Format.percent(sites.all - sites.computed, of: sites.all)) saved)"
            ),
            ("arithmetic", Format.flops(statistics.flops)),
            (
                "memory",
                "weights \(Format.bytes(statistics.weightBytes)), peak beside them "
                    + "\(Format.bytes(statistics.peakBytes)), of it caches \(Format.bytes(statistics.cacheBytes))"
            ),
        ]
        for (rank, took) in statistics.ranks.enumerated() {
            rows.append(
                (
                    "rank \(rank)",
                    "weights \(Format.bytes(took.weightBytes)), peak beside them \(Format.bytes(took.peakBytes)), "
                        + "sent \(Format.bytes(took.sentBytes))"
                ))
        }
        Facts.print(rows + [("written", files.isEmpty ? "standard output" : files.joined(separator: ", "))])
    }
}

extension SampleEvent.Stage {
    /// What is going on, for a progress bar.
    fileprivate var word: String {
        switch self {
        case .encode: "encoding"
        case .decode: "decoding"
        case .vocode: "vocoding"
        default: "sampling"
        }
    }
}
