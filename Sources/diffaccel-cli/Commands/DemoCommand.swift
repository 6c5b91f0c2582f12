import ArgumentParser
import DiffAccel
import DiffCheckpoint
import Glibc

/// `diffaccel demo`: the same images from the plain model and from what was learned to make it faster, and what they cost.
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Samples a grid of the bundled model with and without acceleration, and compares.",
        discussion: """
            Examples:
              diffaccel demo --model Models/fashion-dit --out out
              diffaccel demo --model Models/emoji-sd --prompt "red apple" --prompt "cat face" --out out

            Writes grid-plain.png (prompts-plain.png of a model that draws prompts), and for each plan such a grid and plan-PLAN.png (what it computes and what it reuses). \
            All grids start from the same noise. A router beside the model, learned for as many steps (plan-ddim20.json), \
            and a model of half the depth in the folder with -half appended to its name, take part if they exist.
            """)

    @Option(help: "Folder of the model.")
    var model = "Models/fashion-dit"

    @Option(help: "Folder for the images.")
    var out = "out"

    @Option(help: "Sampling steps.")
    var steps = 20

    @Option(help: "Samples of each class, or of each prompt (default: 10, or 4).")
    var count: Int?

    @Option(help: "What a model that draws prompts draws; again for more rows (default: some).")
    var prompt: [String] = []

    @Option(help: "Seed of the noise.")
    var seed = 0

    @Option(help: ArgumentHelp(NamedPlan.help + " Repeatable; instead of the demo's own.", valueName: "plan"))
    var plan: [String] = []

    @Flag(help: "Print JSON; no progress bar.")
    var json = false

    @OptionGroup(title: "Session") var sessionOptions: SessionOptionGroup
    @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup

    /// A model under a plan, and what came out of it.
    private struct Outcome {
        let plan: NamedPlan
        let session: Session
        var model: Model { session.model }
        var collected = Collected()
        var seconds: Double { collected.statistics?.seconds ?? 0 }
        var flops: Double { collected.statistics?.flops ?? 0 }
        var sites: SiteCounts? { collected.statistics?.sites }
    }

    func validate() throws {
        guard (1...100).contains(count ?? 1) else { throw ValidationError("--count must be 1...100.") }
        guard steps >= 1 else { throw ValidationError("--steps must be at least 1.") }
    }

    func run() throws(DiffError) {
        try ResultFile.checkFolder(out, "--out")
        guard unsafe access(self.model, R_OK) == 0 else {
            throw DiffError(
                .io,
                "\(self.model): there is no such model; start from the folder that holds Models, or use --model FOLDER")
        }
        let model = try modelOptions.open(self.model)
        let facts = ModelFacts(model)
        guard facts.hasDecoder else {
            throw DiffError(.unsupported, "\(model.path): the demo needs a model that makes images")
        }
        guard prompt.isEmpty || facts.drawsPrompts else {
            throw DiffError(.invalidArgument, "--prompt: \(model.path) draws classes, not prompts")
        }
        try Folder.make(out)
        var outcomes = [Outcome(plan: .plain, session: try sessionOptions.session(model, Plan()))]
        for plan in try plans(facts) {
            outcomes.append(Outcome(plan: plan, session: try sessionOptions.session(model, plan.plan)))
        }
        outcomes += try pruned()
        let request = request(facts)
        if !json {
            let sampler = model.description["sampler"]?.asText ?? ""
            StandardOutput.say(
                "\(request.samples) samples in \(steps) \(sampler) steps with each of: "
                    + outcomes.map(\.plan.name).joined(separator: ", "))
        }
        try sample(&outcomes, Batches.split(request, size: 20, facts, outcomes[0].session))
        let files = try write(outcomes, columns(facts), facts.drawsPrompts ? "prompts" : "grid")
        if json { printJSON(outcomes) } else { printTable(outcomes, files) }
    }

    private static let prompts = ["red apple", "green apple", "cat face", "green heart", "snowman", "rocket"]

    private func columns(_ facts: ModelFacts) -> Int { count ?? (facts.drawsPrompts ? 4 : 10) }

    /// Rows of every class, or of every prompt.
    private func request(_ facts: ModelFacts) -> SampleRequest {
        var request = SampleRequest(["steps": .integer(steps), "seed": .integer(seed)])
        guard facts.drawsPrompts else {
            request.labels = (0..<min(10, max(1, facts.classes))).flatMap {
                Array(repeating: $0, count: columns(facts))
            }
            return request
        }
        request["prompt"] = .array((prompt.isEmpty ? Self.prompts : prompt).map { .string($0) })
        request["images_per_prompt"] = .integer(columns(facts))
        return request
    }

    private func plans(_ facts: ModelFacts) throws(DiffError) -> [NamedPlan] {
        var plans: [NamedPlan] = []
        if plan.isEmpty, let learned = try learnedPlan(besides: model) {
            plans.append(NamedPlan(name: "learned", plan: learned))
        }
        // A U-Net spends its time in convolutions, which rules of reuse leave alone.
        let hasUNet = facts.drawsPrompts && facts.description["kind"] != .string("sd3")
        let usual = hasUNet ? ["deepcache:2", "deepcache:3"] : ["alternate", "interval:3"]
        for name in plan.isEmpty ? usual : plan { plans.append(try NamedPlan.read(name)) }
        return plans
    }

    /// The router in the folder of a model that was learned for this number of steps.
    private func learnedPlan(besides folder: String) throws(DiffError) -> Plan? {
        let path = "\(folder)/plan-ddim\(steps).json"
        return unsafe access(path, R_OK) == 0 ? try Plan(contentsOf: path) : nil
    }

    /// The model of half the depth, plain and with its own router.
    private func pruned() throws(DiffError) -> [Outcome] {
        let folder = "\(model)-half"
        guard plan.isEmpty, unsafe access(folder, R_OK) == 0 else { return [] }
        let half = try modelOptions.open(folder)
        var outcomes = [
            Outcome(plan: NamedPlan(name: "half", plan: Plan()), session: try sessionOptions.session(half, Plan()))
        ]
        if let learned = try learnedPlan(besides: folder) {
            outcomes.append(
                Outcome(
                    plan: NamedPlan(name: "half-learned", plan: learned),
                    session: try sessionOptions.session(half, learned)))
        }
        return outcomes
    }

    /// Batch by batch, each with every plan in turn: a change in the machine's speed meets all of them.
    private func sample(_ outcomes: inout [Outcome], _ requests: [SampleRequest]) throws(DiffError) {
        // A short run warms caches and pages.
        var warmUp = requests[0]
        (warmUp["steps"], warmUp["decode"]) = (1, false)
        _ = try outcomes[0].session.sample(warmUp)
        let bar = ProgressBar(isWanted: !json)
        let total = requests.count * outcomes.count * steps
        var done = 0
        for request in requests {
            for index in outcomes.indices {
                let result = try outcomes[index].session.sample(request) { event in
                    if event.stage == .denoise { done += 1 }
                    bar.show(done, of: total, "sampling")
                    return .continue
                }
                try outcomes[index].collected.append(result)
            }
        }
    }

    private func write(_ outcomes: [Outcome], _ columns: Int, _ kind: String) throws(DiffError) -> [String] {
        var files: [String] = []
        for outcome in outcomes {
            let path = "\(out)/\(kind)-\(outcome.plan.name).png"
            let grid = try ImageGrid.arrange(outcome.collected.pictures, columns: columns, scale: 2)
            try PNGWriter.write(grid, to: path, parameters: outcome.collected.statistics?.parameters.first)
            files.append(path)
            guard !outcome.plan.plan.entries.isEmpty else { continue }
            let heat = "\(out)/plan-\(outcome.plan.name).png"
            let preview = try outcome.model.preview(outcome.plan.plan, steps: steps)
            try PNGWriter.write(HeatMap.draw(PlanGrid(preview, outcome.model)), to: heat)
            files.append(heat)
        }
        return files
    }

    private func printTable(_ outcomes: [Outcome], _ files: [String]) {
        let plain = outcomes[0]
        var table = Table("plan", "seconds", "speed-up", "ideal", "saved", "mean |diff|", "PSNR dB")
        for (index, outcome) in outcomes.enumerated() {
            let distance = PictureDistance(outcome.collected.pictures, plain.collected.pictures)
            table.add(
                outcome.plan.name, Format.fixed(outcome.seconds, 2),
                Format.fixed(plain.seconds / outcome.seconds, 2) + "x",
                Format.fixed(plain.flops / outcome.flops, 2) + "x",
                outcome.sites.map { Format.percent($0.all - $0.computed, of: $0.all) } ?? "-",
                index == 0 ? "-" : Format.fixed(distance.meanAbsolute, 2),
                index == 0 ? "-" : Format.fixed(distance.peakSignalToNoise, 2))
        }
        table.print()
        StandardOutput.say(
            "speed-up: measured; ideal: of the arithmetic; saved: attention and MLP outputs; mean |diff| and PSNR: pixels against plain, scale 0-255"
        )
        StandardOutput.say("written " + files.joined(separator: ", "))
    }

    private func printJSON(_ outcomes: [Outcome]) {
        let plain = outcomes[0]
        let rows = outcomes.map { outcome in
            let distance = PictureDistance(outcome.collected.pictures, plain.collected.pictures)
            return JSON.object([
                "plan": .string(outcome.plan.name), "seconds": .number(outcome.seconds),
                "speed_up": .number(plain.seconds / outcome.seconds), "ideal": .number(plain.flops / outcome.flops),
                "reused": .integer(outcome.sites?.reused ?? 0), "computed": .integer(outcome.sites?.computed ?? 0),
                "mean_difference": .number(distance.meanAbsolute), "psnr": .number(distance.peakSignalToNoise),
            ])
        }
        JSON.object([
            "steps": .integer(steps), "samples": .integer(plain.collected.pictures.count), "plans": .array(rows),
        ]).print()
    }
}
