import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// `diffaccel bench`: the plain model against plans, side by side.
struct BenchCommand: RequestCommand {
    static let words = ["bench"]

    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures plans against the plain model, taking turns.",
        discussion: """
            Example: diffaccel bench Models/fashion-dit --plan alternate --plan interval:3 --steps 20 --repeat 5

            Each turn runs the plain model and every plan once on the same noise, so that a change in the machine's speed \
            affects all of them. Decoding is left out. "ideal" is the ratio of the arithmetic.

            \(RequestOptionGroup.discussion)
            """)

    @Argument(help: "Folder of a model.")
    var model: String

    @Option(help: ArgumentHelp(NamedPlan.help + " Repeatable (default: alternate).", valueName: "plan"))
    var plan: [String] = []

    @Option(name: .customLong("repeat"), help: "Measured turns.")
    var turns = 5

    @OptionGroup(title: "Request") var request: RequestOptionGroup

    @Flag(help: "Print JSON; no progress bar.")
    var json = false

    @OptionGroup(title: "Session") var sessionOptions: SessionOptionGroup
    @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup
    @OptionGroup(title: "Model options") var partnerOptions: PartnerOptionGroup

    func validate() throws {
        guard (1...1000).contains(turns) else { throw ValidationError("--repeat must be 1...1000.") }
    }

    /// What was measured of a plan.
    private struct Measured {
        let plan: NamedPlan
        let session: Session
        var seconds: [Double] = []
        var statistics: SampleStatistics?

        var median: Double {
            let sorted = seconds.sorted()
            let half = sorted.count / 2
            return sorted.count % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
        }
    }

    func run() throws {
        let model = try modelOptions.open(self.model)
        let facts = ModelFacts(model)
        var plans = [NamedPlan.plain]
        for name in plan.isEmpty ? ["alternate"] : plan { plans.append(try NamedPlan.read(name)) }
        var request = try self.request.request(facts, by: Self.self, comparing: plans)
        if facts.decodes { request["decode"] = false }
        var measured: [Measured] = []
        let partner = try partnerOptions.open(modelOptions)
        guard partner == nil || plans.contains(where: \.takesPartner) else {
            throw DiffError(.invalidArgument, "--partner: no plan here uses a second model")
        }
        for plan in plans {
            let session = try sessionOptions.session(model, plan.plan, partner: plan.takesPartner ? partner : nil)
            measured.append(Measured(plan: plan, session: session))
        }
        let requests = try Batches.split(request, size: self.request.batch, facts, measured[0].session)
        try measure(&measured, requests)
        if json { printJSON(measured, request) } else { printTable(measured, request) }
    }

    private func measure(_ measured: inout [Measured], _ requests: [SampleRequest]) throws(DiffError) {
        let bar = ProgressBar(isWanted: !json)
        let total = (turns + 1) * measured.count
        // The first turn warms caches and pages, and is thrown away.
        for turn in 0...turns {
            for index in measured.indices {
                bar.show(turn * measured.count + index, of: total, "measuring")
                var collected = Collected()
                for request in requests { try collected.append(measured[index].session.sample(request)) }
                measured[index].statistics = collected.statistics
                if turn > 0 { measured[index].seconds.append(collected.statistics?.seconds ?? 0) }
            }
        }
    }

    private func printTable(_ measured: [Measured], _ request: SampleRequest) {
        let steps = measured[0].statistics?.steps.count ?? 0
        let sampler = measured[0].statistics?.sampler ?? ""
        StandardOutput.say(
            "\(request.samples) samples, \(steps) \(sampler) steps, "
                + "\(measured[0].session.threads) threads, medians of \(turns)")
        var table = Table("plan", "seconds", "fastest", "arithmetic", "saved", "speed-up", "ideal")
        for one in measured {
            table.add(
                one.plan.name, Format.fixed(one.median, 3), Format.fixed(one.seconds.min() ?? 0, 3),
                Format.flops(one.statistics?.flops ?? 0),
                one.statistics.map { Format.percent($0.sites.all - $0.sites.computed, of: $0.sites.all) } ?? "-",
                Format.fixed(measured[0].median / one.median, 2) + "x", Format.fixed(ideal(one, measured[0]), 2) + "x")
        }
        table.print()
    }

    private func ideal(_ one: Measured, _ plain: Measured) -> Double {
        (plain.statistics?.flops ?? 0) / (one.statistics?.flops ?? 1)
    }

    private func printJSON(_ measured: [Measured], _ request: SampleRequest) {
        let rows = measured.map { one in
            JSON.object([
                "plan": .string(one.plan.name), "seconds": .array(one.seconds.map { .number($0) }),
                "median": .number(one.median), "speed_up": .number(measured[0].median / one.median),
                "ideal": .number(ideal(one, measured[0])), "flops": .number(one.statistics?.flops ?? 0),
            ])
        }
        JSON.object([
            "model": .string(model), "samples": .integer(request.samples),
            "steps": .integer(measured[0].statistics?.steps.count ?? 0),
            "threads": .integer(measured[0].session.threads), "plans": .array(rows),
        ]).print()
    }
}
