import DiffAcceleration
import DiffModels
import DiffTensor

extension Router {
    /// The router with reuse in as many sub-layers only as `bytes` of kept outputs per network row hold: those stay that save most
    /// multiply-adds over the calls that `rows` decide about. The others are computed in every step.
    func limited(toBytes bytes: Int, rows decisive: [Int], of c: any TrainableDenoiser) throws(DiffError) -> Router {
        let each = Checked.multiply(c.tokens, c.width &* 4) ?? .max
        let columns = each > 0 ? bytes / each : 0
        var savings = Array(repeating: 0.0, count: max(0, sublayers))
        let (tokens, width, mlp) = (Double(c.tokens), Double(c.width), Double(c.mlpWidth))
        // Projections and both products of an attention; both layers of an MLP.
        let costs = [4 * width * width * tokens + 2 * tokens * tokens * width, 2 * width * mlp * tokens]
        for row in decisive.each {
            for (column, computes) in computes(row: row).numbered where !computes {
                savings.update(at: column) { $0 += costs.at(column % 2) ?? 0 }
            }
        }
        let order = savings.numbered.sorted {
            $0.element == $1.element ? $0.offset < $1.offset : $0.element > $1.element
        }
        var isReused = Array(repeating: false, count: max(0, sublayers))
        for (rank, saving) in order.numbered where rank < columns { isReused.put(true, at: saving.offset) }
        let rows = logits.map { row in
            row.numbered.map { isReused.at($0.offset) == true ? $0.element : Self.computes }
        }
        return try Router(logits: rows, threshold: threshold, period: period)
    }

    /// A logit above every threshold below 1.
    private static var computes: Float { 30 }
}
