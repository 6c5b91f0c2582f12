import DiffAccel

/// A plan as a picture: steps downwards (the noisiest on top), blocks to the right, a panel each for attention and MLP.
struct HeatMap {
    // Okabe and Ito's colours, told apart with any colour vision and in print: dark, middle, light.
    private static let computed: [UInt8] = [0, 114, 178]
    private static let reused: [UInt8] = [240, 174, 60]
    private static let skipped: [UInt8] = [221, 221, 221]
    private static let paper: [UInt8] = [255, 255, 255]
    private static let ink: [UInt8] = [60, 60, 60]

    private static let fontScale = 2
    private static let lineHeight = BitmapFont.height * fontScale
    private static let margin = 12
    private static let tick = 5

    private let grid: PlanGrid
    private let cellWidth: Int, cellHeight: Int
    private let left: Int, top: Int

    /// The picture of `grid`.
    static func draw(_ grid: PlanGrid) -> Picture { HeatMap(grid).picture() }

    private init(_ grid: PlanGrid) {
        self.grid = grid
        let columns = grid.panels.map(\.blocks.count).max() ?? 1
        cellWidth = max(5, min(24, 640 / max(1, columns)))
        cellHeight = max(4, min(16, 720 / max(1, grid.timesteps.count)))
        left = 3 * Self.margin + BitmapFont.width("timestep") * Self.fontScale
        top = 2 * Self.margin + 2 * Self.lineHeight
    }

    private func panelWidth(_ panel: PlanGrid.Panel) -> Int {
        max(panel.blocks.count * cellWidth, BitmapFont.width(panel.title) * Self.fontScale)
    }

    private func picture() -> Picture {
        let panels = grid.panels.reduce(0) { $0 + panelWidth($1) + 3 * Self.margin }
        let bottom = top + grid.timesteps.count * cellHeight
        let legend = BitmapFont.width("computed reused skipped") * Self.fontScale + 8 * Self.margin
        var picture = Picture(
            width: max(left + panels, 2 * Self.margin + legend), height: bottom + 3 * Self.margin + Self.lineHeight,
            filledWith: Self.paper)
        drawTimesteps(in: &picture)
        var x = left
        for panel in grid.panels {
            draw(panel, at: x, in: &picture)
            x += panelWidth(panel) + 3 * Self.margin
        }
        drawLegend(y: bottom + 2 * Self.margin, in: &picture)
        return picture
    }

    private func text(_ text: String, x: Int, y: Int, in picture: inout Picture) {
        BitmapFont.draw(text, in: &picture, x: x, y: y, scale: Self.fontScale, Self.ink)
    }

    private func drawTimesteps(in picture: inout Picture) {
        text("timestep", x: Self.margin, y: Self.margin, in: &picture)
        let every = 1 + (Self.lineHeight + 3) / cellHeight
        for (row, timestep) in grid.timesteps.enumerated() where row % every == 0 {
            let middle = top + row * cellHeight + cellHeight / 2
            let width = BitmapFont.width(String(timestep)) * Self.fontScale
            text(
                String(timestep), x: left - Self.margin - width, y: middle - Self.lineHeight / 2, in: &picture)
            picture.fill(x: left - Self.tick - 1, y: middle, width: Self.tick, height: 1, Self.ink)
        }
    }

    private func draw(_ panel: PlanGrid.Panel, at x: Int, in picture: inout Picture) {
        text(panel.title, x: x, y: Self.margin, in: &picture)
        let widest = BitmapFont.width(String(panel.blocks.last ?? 0)) * Self.fontScale
        let every = 1 + (widest + 3) / cellWidth
        for (column, block) in panel.blocks.enumerated() where column % every == 0 {
            let middle = x + column * cellWidth + cellWidth / 2
            let label = String(block)
            let width = BitmapFont.width(label) * Self.fontScale
            text(label, x: middle - width / 2, y: top - Self.tick - 3 - Self.lineHeight, in: &picture)
            picture.fill(x: middle, y: top - Self.tick - 1, width: 1, height: Self.tick, Self.ink)
        }
        for (row, outcomes) in panel.rows.enumerated() {
            for (column, outcome) in outcomes.enumerated() {
                // A pixel of paper between cells is the grid line.
                picture.fill(
                    x: x + column * cellWidth, y: top + row * cellHeight, width: cellWidth - 1, height: cellHeight - 1,
                    Self.colour(outcome))
            }
        }
    }

    private func drawLegend(y: Int, in picture: inout Picture) {
        var x = Self.margin
        let entries: [(String, Trace.Outcome)] = [("computed", .computed), ("reused", .reused), ("skipped", .skipped)]
        for (name, outcome) in entries {
            picture.fill(x: x, y: y, width: Self.lineHeight, height: Self.lineHeight, Self.colour(outcome))
            x += Self.lineHeight + Self.margin / 2
            text(name, x: x, y: y, in: &picture)
            x += BitmapFont.width(name) * Self.fontScale + 2 * Self.margin
        }
    }

    private static func colour(_ outcome: Trace.Outcome) -> [UInt8] {
        switch outcome {
        case .computed: computed
        case .reused: reused
        case .skipped: skipped
        }
    }
}
