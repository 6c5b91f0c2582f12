import DiffAcceleration
import DiffModels
import DiffTensor

extension Router {
    /// The router with reuse in as many sub-layers only as `bytes` of kept outputs per network row hold: those stay that save most
    /// work over the calls that `rows` decide about. The others are computed in every step.
    func limited(toBytes bytes: Int, rows decisive: [Int], _ costs: [SublayerCost]) throws(DiffError) -> Router {
        var savings = Array(repeating: 0.0, count: max(0, sublayers))
        for row in decisive.each {
            for (column, computes) in computes(row: row).numbered where !computes {
                savings.update(at: column) { $0 += costs.at(column)?.work ?? 0 }
            }
        }
        let order = savings.numbered.sorted {
            $0.element == $1.element ? $0.offset < $1.offset : $0.element > $1.element
        }
        var isReused = Array(repeating: false, count: max(0, sublayers))
        var left = bytes
        for saving in order.each {
            guard let cost = costs.at(saving.offset), cost.bytes > 0, cost.bytes <= left else { continue }
            left &-= cost.bytes
            isReused.put(true, at: saving.offset)
        }
        let rows = logits.map { row in
            row.numbered.map { isReused.at($0.offset) == true ? $0.element : Self.computes }
        }
        return try Router(logits: rows, threshold: threshold, period: period)
    }

    /// A logit above every threshold below 1.
    private static var computes: Float { 30 }
}
