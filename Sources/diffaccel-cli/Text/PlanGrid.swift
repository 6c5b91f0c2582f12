import DiffAccel

/// The steps x sites grid of a plan, with a panel for each kind of site.
struct PlanGrid {
    /// The sites of one kind.
    struct Panel {
        let title: String
        /// Block of each column.
        let blocks: [Int]
        /// What happens, by executed step and column.
        let rows: [[Trace.Outcome]]

        /// Sites that `step` computes.
        func computed(_ step: Int) -> Int { rows[step].count { $0 == .computed } }
    }

    /// Original timestep of each executed step, noisiest first.
    let timesteps: [Int]
    let panels: [Panel]

    /// The grid of `preview`, which was made by `model`.
    init(_ preview: PlanPreview, _ model: Model) {
        timesteps = preview.timesteps.map { Int($0.rounded()) }
        let sites = preview.sites.map { name in model.layout.site(named: name).map(model.layout.info) }
        let kinds: [(SiteInfo.Kind, String)] = [(.attention, "attention"), (.mlp, "mlp")]
        panels = kinds.map { kind, title in
            let columns = sites.indices.filter { sites[$0]?.kind == kind }
            return Panel(
                title: title, blocks: columns.map { sites[$0]?.block ?? 0 },
                rows: preview.grid.map { row in columns.map { row[$0] } })
        }
    }

    /// Prints the grid: a line for each step, a character for each site.
    func print() {
        let widths = panels.map { max($0.title.count, $0.blocks.count) }
        var heading = "step  timestep"
        for (panel, width) in zip(panels, widths) { heading += "  " + panel.title.padded(width) }
        for panel in panels { heading += "  " + panel.title.padded(9) }
        StandardOutput.say(heading.trimmedEnd)
        for (step, timestep) in timesteps.enumerated() {
            var line = String(step + 1).padded(4, right: true) + "  " + String(timestep).padded(8, right: true)
            for (panel, width) in zip(panels, widths) {
                let cells = panel.rows[step].map(Self.character)
                line += "  " + String(cells).padded(width)
            }
            for panel in panels {
                line += "  " + "\(panel.computed(step))/\(panel.blocks.count)".padded(9)
            }
            StandardOutput.say(line.trimmedEnd)
        }
        var totals = String(repeating: " ", count: 14)
        for width in widths { totals += "  " + "".padded(width) }
        for panel in panels {
            let computed = timesteps.indices.reduce(0) { $0 + panel.computed($1) }
            totals += "  " + "\(computed)/\(panel.blocks.count * timesteps.count)".padded(9)
        }
        StandardOutput.say(totals.trimmedEnd)
        StandardOutput.say("█ computed  · reused  - skipped")
    }

    private static func character(_ outcome: Trace.Outcome) -> Character {
        switch outcome {
        case .computed: "█"
        case .reused: "·"
        case .skipped: "-"
        }
    }
}

extension String {
    /// The text without the spaces at its end.
    var trimmedEnd: String { lastIndex { $0 != " " }.map { String(self[...$0]) } ?? "" }

    /// The text with spaces behind it (or before it) up to `width` characters.
    func padded(_ width: Int, right: Bool = false) -> String {
        let spaces = String(repeating: " ", count: Swift.max(0, width - count))
        return right ? spaces + self : self + spaces
    }
}
