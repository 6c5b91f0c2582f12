import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// `diffaccel sample`: pictures (or latents) of chosen classes.
struct SampleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample",
        abstract: "Samples images from a model.",
        discussion: """
            Example: diffaccel sample Models/fashion-dit --labels 3,5 --count 4 --steps 50 --plan alternate --out grid.png

            Each class is a row of the grid. The first Ctrl-C stops the run, the second one ends the program at once.
            """)

    @Argument(help: "Folder of a model.")
    var model: String

    @Option(help: ArgumentHelp(NamedPlan.help, valueName: "plan"))
    var plan: String?

    @OptionGroup(title: "Request") var request: RequestOptionGroup

    @OptionGroup(title: "Outputs") var outputs: SampleOutputs

    @Flag(help: "Only tell what the run would need.")
    var estimate = false

    @Flag(help: "Print statistics as JSON; no progress bar.")
    var json = false

    @Flag(help: "No progress bar and no statistics.")
    var quiet = false

    @OptionGroup(title: "Session") var sessionOptions: SessionOptionGroup
    @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup

    func run() throws(DiffError) {
        let model = try modelOptions.open(self.model)
        let facts = ModelFacts(model)
        var plan = NamedPlan.plain
        if let name = self.plan { plan = try NamedPlan.read(name) }
        var request = try self.request.request(facts, [plan])
        request.decode = outputs.wantsImages
        let session = try sessionOptions.session(model, plan.plan)
        if estimate {
            request.decode = request.decode && facts.hasDecoder
            return try printEstimate(session, request, facts)
        }
        try outputs.check(facts, model.path)
        let collected = try sample(session, Batches.split(request, size: self.request.batch, facts))
        let written = try outputs.write(collected, request.labels, rows: self.request.count)
        guard let statistics = collected.statistics else { return }
        if json {
            JSON.object([
                "model": .string(model.path), "plan": .string(plan.name), "statistics": statistics.json,
                "labels": .array(request.labels.map { .integer($0) }), "seed": .string(String(request.seed)),
                "files": .array(written.map { .string($0) }),
            ]).print()
        } else if !quiet {
            printStatistics(statistics, samples: request.labels.count, written)
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
                    bar.show(
                        done, of: requests.count * event.steps, event.stage == .decode ? "decoding" : "sampling")
                    return .continue
                })
        }
        bar.clear()
        return collected
    }

    private func printEstimate(_ session: Session, _ request: SampleRequest, _ facts: ModelFacts) throws(DiffError) {
        let first = try Batches.split(request, size: self.request.batch, facts)[0]
        let estimate = try session.estimate(first)
        let scale = Double(request.labels.count) / Double(first.labels.count)
        if json { return estimate.json.print() }
        Facts.print([
            ("samples", "\(request.labels.count), \(first.labels.count) at a time"),
            ("weights", Format.bytes(estimate.weights)),
            ("memory beside them", "\(Format.bytes(estimate.peak)), of it caches \(Format.bytes(estimate.cache))"),
            ("arithmetic", Format.flops(estimate.flops * scale)),
            ("without plan", Format.flops(estimate.baselineFlops * scale)),
            ("sites computed", "\(estimate.sites.computed) of \(estimate.sites.all)"),
        ])
    }

    private func printStatistics(_ statistics: SampleStatistics, samples: Int, _ files: [String]) {
        let sites = statistics.sites
        let decoding =
            statistics.decodeSeconds >= 0.01 ? ", of it decoding \(Format.fixed(statistics.decodeSeconds, 2))" : ""
        Facts.print([
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
            ("written", files.joined(separator: ", ")),
        ])
    }
}
