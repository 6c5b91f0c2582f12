import DiffTensor

/// Changing weights while they are loaded, in f32 whatever they are kept as.
extension Weights {
    /// The tensor of `entry` with `updates` added, in `type`: in the block `given` when it has room for it. Throws `notFinite` when a
    /// number comes out that the type does not hold, besides what loading throws.
    func updated(
        _ entry: TensorEntry, _ updates: [LowRankUpdate], as type: DType, into given: Storage?
    ) throws(DiffError) -> Tensor {
        let kept = try target(entry, type, given)
        if type == .f32 {
            try add(updates, to: kept, entry, keptAs: type)
            return kept
        }
        let bytes = entry.shape.count &* DType.f32.size  // below 2^51 by Shape's bound
        try updating.withRoom(bytes, budget: options.budget) { (block) throws(DiffError) in
            let wide = try Tensor(block, entry.shape)
            try kept.widen(into: wide, pool: options.pool)
            try add(updates, to: wide, entry, keptAs: type)
            try wide.narrow(into: kept, pool: options.pool)
        }
        return kept
    }

    /// The tensor as it is in the file, in `type`.
    private func target(_ entry: TensorEntry, _ type: DType, _ given: Storage?) throws(DiffError) -> Tensor {
        guard entry.type.isNative, entry.type.weight == type else {
            let tensor = try table.load(entry.name, budget: options.budget)
            return type == .f32 ? try tensor.widened(budget: options.budget) : tensor
        }
        let block: Storage
        if let given, given.byteCount >= entry.byteCount {
            block = given
        } else {
            block = try Storage(byteCount: entry.byteCount, budget: options.budget)
        }
        try table.read(entry.name, into: block, at: 0, pool: options.pool)
        return try Tensor(block, entry.shape, type)
    }

    private func add(
        _ updates: [LowRankUpdate], to wide: Tensor, _ entry: TensorEntry, keptAs type: DType
    ) throws(DiffError) {
        for update in updates.each {
            if let misfit = update.misfit(wide.shape) {
                throw DiffError(.shape, "\(update.table.path): \(update.table.sourceName(update.up)): \(misfit)")
            }
            guard let size = update.size(wide.shape) else {
                throw DiffError(.internal, "\(entry.name): no rows to change")
            }
            let rows = try wide.rows(size.first, size.rows)
            let up = try matrix(update, update.up, scale: Float(update.scale))
            let down: Tensor
            if let middle = update.middle {
                down = try merged(update, middle)
            } else {
                down = try matrix(update, update.down, scale: 1)
            }
            try LowRankProduct.add(up, down, to: rows, pool: options.pool, budget: options.budget)
        }
        let limit: Float = type == .f16 ? 65504 : .greatestFiniteMagnitude
        guard let values = unsafe wide.floats else { return }
        for index in Indices(below: wide.shape.count) {
            let value = unsafe values[index]
            guard value.magnitude <= limit else {
                throw DiffError(
                    .notFinite,
                    "\(table.path): tensor \"\(table.sourceName(entry.name))\" with its updates: \(value) at element \(index) is "
                        + "beyond \(type.name); a smaller scale of the LoRA, or weights f32, may hold it")
            }
        }
    }

    /// A factor as a matrix in f32, times `scale`.
    private func matrix(_ update: LowRankUpdate, _ name: String, scale: Float) throws(DiffError) -> Tensor {
        let stored = try update.table.load(name, budget: options.budget)
        let rows = stored.shape[0]
        guard let columns = Checked.divide(stored.shape.count, rows) else {
            throw DiffError(.internal, "\(update.table.path): \(name): no matrix")
        }
        let matrix = try Tensor(uninitialized: Shape(rows, columns), budget: options.budget)
        try stored.widen(into: matrix, pool: options.pool)
        if scale != 1, let values = unsafe matrix.floats {
            for index in Indices(below: matrix.shape.count) { unsafe values[index] *= scale }
        }
        return matrix
    }

    /// The product of the middle factor [p, q, height, width] and the lower one [q, inputs]: [p, inputs * height * width].
    private func merged(_ update: LowRankUpdate, _ name: String) throws(DiffError) -> Tensor {
        guard let shape = update.table.info(name)?.shape, shape.rank == 4 else {
            throw DiffError(.internal, "\(update.table.path): \(name): no middle factor")
        }
        let down = try matrix(update, update.down, scale: 1)
        let middle = try matrix(update, name, scale: 1)
        let (p, q, area, inputs) = (shape[0], shape[1], shape[2] &* shape[3], down.shape[1])
        let whole = try Tensor(uninitialized: Shape(p, inputs, area), budget: options.budget)
        let tap = try Tensor(uninitialized: Shape(p, q), budget: options.budget)
        let product = try Tensor(uninitialized: Shape(p, inputs), budget: options.budget)
        // One matrix for each place of the window; p * inputs * area elements by Shape's bound.
        for place in Indices(below: area) {
            if let from = unsafe middle.floats, let to = unsafe tap.floats, let sum = unsafe product.floats {
                for index in Indices(below: p &* q) { unsafe to[index] = from[index &* area &+ place] }
                unsafe sum.update(repeating: 0, count: max(0, product.shape.count))
            }
            try LowRankProduct.add(tap, down, to: product, pool: options.pool, budget: options.budget)
            if let from = unsafe product.floats, let to = unsafe whole.floats {
                for index in Indices(below: product.shape.count) { unsafe to[index &* area &+ place] = from[index] }
            }
        }
        return try whole.reshaped(Shape(p, inputs &* area))
    }
}
