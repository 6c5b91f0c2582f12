import ArgumentParser
import DiffAccel

extension PlanCommand {
    /// `diffaccel plan sweep`: what each threshold of a router gives.
    struct Sweep: RequestCommand {
        static let words = ["plan", "sweep"]

        static let configuration = CommandConfiguration(
            abstract: "Measures thresholds of a learned router against the full run.",
            discussion: """
                Example: diffaccel plan sweep router.json --model Models/fashion-dit --labels 0-9 --steps 20 --out sweep.json

                "removed" is the share of all sub-layers that are not computed, "ideal" the ratio of the arithmetic, "speed-up" \
                the ratio of the median times, "error" the root mean square difference of the final states from the full run's.

                \(RequestOptionGroup.discussion)
                """)

        @Argument(help: "Plan file with a learned router.")
        var router: String

        @Option(help: "Folder of the model the router is for.")
        var model: String

        @Option(help: ArgumentHelp("Thresholds, comma-separated.", valueName: "numbers"))
        var thresholds = NumberList([0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9])

        @Option(name: .customLong("repeat"), help: "Measured turns.")
        var turns = 3

        @Option(help: "JSON file for the measures, - for standard output.")
        var out: String?

        @Flag(help: "Print JSON; no progress bar.")
        var json = false

        @OptionGroup(title: "Request") var request: RequestOptionGroup
        @OptionGroup(title: "Session") var sessionOptions: SessionOptionGroup
        @OptionGroup(title: "Model options") var modelOptions: ModelOptionGroup

        /// A threshold's run, or the full one.
        private struct Entry {
            let threshold: Double?
            let session: Session
            var seconds: [Double] = []
            var result = Collected()

            var median: Double {
                let sorted = seconds.sorted()
                return sorted.isEmpty ? 0 : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
            }
            var statistics: SampleStatistics? { result.statistics }
        }

        func validate() throws {
            guard (1...1000).contains(turns) else { throw ValidationError("--repeat must be 1...1000.") }
            guard thresholds.values.allSatisfy({ (0...1).contains($0) }) else {
                throw ValidationError("--thresholds must be 0...1.")
            }
        }

        func run() throws {
            try StandardOutput.reserve([out], besidesJSON: json)
            let plan = try NamedPlan.read(router)
            guard let learned = plan.plan.router else {
                throw DiffError(.unsupported, "\(router): no learned router, so it has no threshold")
            }
            if let out { try ResultFile.check(out) }
            let model = try modelOptions.open(self.model)
            let facts = ModelFacts(model)
            var request = try self.request.request(facts, by: Self.self, comparing: [plan])
            if facts.decodes { request["decode"] = false }
            var entries = [Entry(threshold: nil, session: try sessionOptions.session(model, Plan()))]
            for threshold in thresholds.values {
                var changed = learned
                changed.threshold = threshold
                let plan = Plan([LayerCachePlan(.learned(changed))])
                entries.append(Entry(threshold: threshold, session: try sessionOptions.session(model, plan)))
            }
            try measure(&entries, Batches.split(request, size: self.request.batch, facts, entries[0].session))
            let rows = try entries.dropFirst().map { entry throws(DiffError) in try row(entry, entries[0]) }
            let document = JSON.object([
                "router": .string(router), "model": .string(self.model), "steps": .integer(learned.steps),
                "samples": .integer(request.samples), "seconds": .number(entries[0].median),
                "rows": .array(rows),
            ])
            if let out { try ResultFile.write(document.serialized(pretty: true), to: out) }
            if json { document.print() } else { printTable(rows) }
        }

        private func measure(_ entries: inout [Entry], _ requests: [SampleRequest]) throws(DiffError) {
            let bar = ProgressBar(isWanted: !json)
            let total = (turns + 1) * entries.count
            // The first turn gives the states, and warms caches and pages; the others are timed.
            for turn in 0...turns {
                for index in entries.indices {
                    bar.show(turn * entries.count + index, of: total, "measuring")
                    var collected = Collected()
                    for request in requests { try collected.append(entries[index].session.sample(request)) }
                    if turn > 0 {
                        entries[index].seconds.append(collected.statistics?.seconds ?? 0)
                    } else {
                        entries[index].result = collected
                    }
                }
            }
            bar.clear()
        }

        private func row(_ entry: Entry, _ full: Entry) throws(DiffError) -> JSON {
            let sites = entry.statistics?.sites ?? SiteCounts()
            let error = try Collected.distance(entry.result, full.result)
            return .object([
                "threshold": .number(entry.threshold ?? 0),
                "removed": .number(1 - Double(sites.computed) / Double(max(1, sites.all))),
                "ideal": .number((full.statistics?.flops ?? 0) / max(1, entry.statistics?.flops ?? 1)),
                "speedup": .number(full.median / max(1e-9, entry.median)), "error": .number(error),
            ])
        }

        private func printTable(_ rows: [JSON]) {
            var table = Table("threshold", "removed", "ideal", "speed-up", "error")
            for row in rows {
                func value(_ name: String) -> Double { row[name]?.asDouble ?? .nan }
                table.add(
                    Format.significant(value("threshold"), 3), Format.percent(value("removed")),
                    Format.fixed(value("ideal"), 2) + "x", Format.fixed(value("speedup"), 2) + "x",
                    Format.significant(value("error"), 4))
            }
            table.print()
            for file in ResultFile.said([out]) { StandardOutput.say("written \(file)") }
        }
    }
}

/// Numbers as they are written on the command line: `0.1,0.5`.
struct NumberList: ExpressibleByArgument {
    let values: [Double]

    init(_ values: [Double]) { self.values = values }

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Double($0.trimmed) }
        values = parts.compactMap(\.self)
        guard values.count == parts.count, values.allSatisfy(\.isFinite) else { return nil }
    }

    var defaultValueDescription: String { values.map(\.description).joined(separator: ",") }
}
