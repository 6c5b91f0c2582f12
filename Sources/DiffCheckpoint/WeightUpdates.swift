public import DiffTensor

/// A change of small rank to a matrix of weights: scale · up · down, or scale · up · middle · down for convolutions taken apart.
///
/// Its factors stay in their file until the weight is loaded.
public final class LowRankUpdate: Sendable {
    /// The table of the factors.
    public let table: TensorTable
    /// [outputs, rank] and [rank, inputs...]; trailing extents of 1 do not matter.
    public let up, down: String
    /// [rank, rank, height, width] between the two, which are then 1 x 1; nil: none.
    public let middle: String?
    /// What the product is multiplied with.
    public let scale: Double
    /// Which of several equal parts of the weight's rows it changes, as of a fused projection; nil: all.
    public let rows: (part: Int, of: Int)?

    /// An update of the factors `up` and `down`, and `middle` if there is one.
    public init(
        _ table: TensorTable, up: String, down: String, middle: String? = nil, scale: Double,
        rows: (part: Int, of: Int)? = nil
    ) {
        (self.table, self.up, self.down, self.middle, self.scale, self.rows) = (table, up, down, middle, scale, rows)
    }

    /// What is wrong with it for a weight of this shape; nil when it fits.
    public func misfit(_ weight: Shape) -> String? {
        guard let up = table.info(up)?.shape, let down = table.info(down)?.shape, up.rank >= 2, down.rank >= 2 else {
            return "a factor is missing or no matrix"
        }
        guard let size = size(weight) else { return "\(weight) has no such rows" }
        let (outputs, rank) = (up[0], up[1])
        guard up.count == outputs &* rank else { return "\(up) is no factor of outputs and rank" }
        if let middle {
            guard let between = table.info(middle)?.shape, between.rank == 4, between[0] == rank,
                down.count == down[0] &* down[1], between[1] == down[0]
            else { return "its three factors do not fit each other" }
            guard outputs == size.rows, weight.rank == 4, down[1] == weight[1], between[2] == weight[2],
                between[3] == weight[3]
            else { return "\(up) x \(between) x \(down) for \(weight)" }
            return nil
        }
        guard outputs == size.rows, down[0] == rank, down.count == rank &* size.columns else {
            return "\(up) x \(down) for \(weight)"
        }
        return nil
    }

    /// Rows that are changed and the length of one, all extents but the first taken together.
    func size(_ weight: Shape) -> (first: Int, rows: Int, columns: Int)? {
        guard weight.rank >= 2, let columns = Checked.divide(weight.count, weight[0]) else { return nil }
        guard let rows else { return (0, weight[0], columns) }
        guard rows.part >= 0, rows.part < rows.of, let each = Checked.divide(weight[0], rows.of),
            Checked.multiply(each, rows.of) == weight[0]
        else { return nil }
        return (rows.part &* each, each, columns)
    }
}

/// The updates of a model's weights, by the names of the tensors they change.
public final class WeightUpdates: Sendable {
    private let updates: [String: [LowRankUpdate]]

    /// These updates; those of one tensor are added in their order.
    public init(_ updates: [String: [LowRankUpdate]]) { self.updates = updates }

    /// Those of the tensor `name`; nil when there are none.
    public func of(_ name: String) -> [LowRankUpdate]? { updates[name] }

    /// Names of the tensors that change, sorted.
    public var names: [String] { updates.keys.sorted(by: JSON.precedes) }

    /// These and then those of `others`.
    public func appending(_ others: WeightUpdates) -> WeightUpdates {
        var all = updates
        for name in Array(others.updates.keys).each {
            var list = all[name] ?? []
            for update in (others.updates[name] ?? []).each { list.append(update) }
            all.put(list, for: name)
        }
        return WeightUpdates(all)
    }
}
