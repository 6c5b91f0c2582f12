import ArgumentParser
import DiffAccel
import DiffCheckpoint

/// `diffaccel plan`: looks at plans and writes simple ones.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Shows what a plan computes and what it reuses, writes a simple plan, or measures thresholds.",
        discussion: "Example: diffaccel plan show alternate --model Models/fashion-dit --steps 20 --png heat.png",
        subcommands: [Show.self, Make.self, Sweep.self])

    /// `diffaccel plan show`: the steps x sites grid.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the steps x sites grid of a plan.",
            discussion: """
                Example: diffaccel plan show l2c.json --model Models/fashion-dit --steps 20 --png heat.png

                Steps run from top to bottom, the noisiest first; columns are the blocks.
                """)

        @Argument(help: ArgumentHelp(NamedPlan.help))
        var plan: String

        @Option(help: "Folder of the model the plan is for.")
        var model: String

        @Option(help: "Sampling steps (default: what a learned plan was made for, else 50).")
        var steps: Int?

        @Option(help: "Also write the grid as an image, - for standard output.")
        var png: String?

        @Flag(help: "Print JSON.")
        var json = false

        @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup

        func run() throws(DiffError) {
            try StandardOutput.reserve([png], besidesJSON: json)
            let plan = try NamedPlan.read(self.plan)
            let model = try modelOptions.open(self.model)
            if let png { try ResultFile.check(png) }
            let preview = try model.preview(plan.plan, steps: steps)
            let grid = PlanGrid(preview, model)
            if let png { try PNGWriter.write(HeatMap.draw(grid), to: png) }
            if json { return preview.json.print() }
            grid.print()
            let ratio = preview.baselineFlops > 0 ? preview.flops / preview.baselineFlops : 1
            StandardOutput.say(
                "\(Format.percent(preview.shareSaved)) of the sites saved; "
                    + "\(Format.flops(preview.flops)) of \(Format.flops(preview.baselineFlops)) per sample "
                    + "(\(Format.percent(ratio)), ideal speed-up \(Format.fixed(1 / max(ratio, 1e-9), 2))x)")
            for file in ResultFile.said([png]) { StandardOutput.say("written \(file)") }
        }
    }

    /// `diffaccel plan make`: baselines as files.
    struct Make: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a rule as a plan file.",
            discussion: "Example: diffaccel plan make --policy random --ratio 0.5 --seed 1 --out random.json")

        /// The rules.
        enum Policy: String, ExpressibleByArgument, CaseIterable {
            case none, alternate, interval, random
        }

        @Option(help: "Rule: \(Policy.allCases.map(\.rawValue).joined(separator: ", ")).")
        var policy: Policy

        @Option(help: "Of interval: one full step in this many.")
        var interval = 2

        @Option(help: "Of random: share of the sites that cached steps reuse, 0...1.")
        var ratio = 0.5

        @Option(help: "Of random: seed of the draw.")
        var seed: UInt32 = 0

        @Option(help: "File to write, - for standard output.")
        var out: String

        func validate() throws {
            guard (1...1_000_000).contains(interval) else { throw ValidationError("--interval must be 1...1000000.") }
            guard (0...1).contains(ratio) else { throw ValidationError("--ratio must be 0...1.") }
        }

        func run() throws(DiffError) {
            let rule: CachePolicy =
                switch policy {
                case .none: .none
                case .alternate: .alternate
                case .interval: .interval(every: interval)
                case .random: .random(ratio: ratio, seed: UInt64(seed))
                }
            try StandardOutput.reserve([out], besidesJSON: false)
            try ResultFile.write(Plan([LayerCachePlan(rule)]), to: out)
        }
    }
}
