extension Tensor {
    /// A matrix [rows, columns] as [columns, rows] in a block of its own, in the same element type; without elements where these have none.
    /// Throws `shape` for something else than a matrix, `outOfMemory`, `overBudget`.
    public func transposed(budget: MemoryBudget?) throws(DiffError) -> Tensor {
        guard shape.rank == 2 else { throw DiffError(.shape, "a \(shape) tensor is no matrix to transpose") }
        let (rows, columns) = (shape[0], shape[1])
        let turned = try Shape(columns, rows)
        guard let from = unsafe raw else { return try Tensor(Storage(virtual: byteCount), turned, dtype) }
        let out = try Tensor(Storage(byteCount: byteCount, budget: budget), turned, dtype)
        guard let to = unsafe out.raw else { return out }
        switch dtype.size {
        case 4: unsafe Self.turn(from, to, rows, columns, UInt32.self)
        case 2: unsafe Self.turn(from, to, rows, columns, UInt16.self)
        default: unsafe Self.turn(from, to, rows, columns, UInt8.self)
        }
        return out
    }

    /// In squares, so that lines of the cache are used whole on both sides.
    @unsafe private static func turn<Word>(
        _ from: UnsafeMutableRawPointer, _ to: UnsafeMutableRawPointer, _ rows: Int, _ columns: Int, _: Word.Type
    ) {
        let (source, target) = unsafe (
            from.assumingMemoryBound(to: Word.self), to.assumingMemoryBound(to: Word.self)
        )
        let side = 32
        for block in Indices(below: (rows &+ side &- 1) / side) {
            for strip in Indices(below: (columns &+ side &- 1) / side) {
                for i in Indices(below: min(side, rows &- block &* side)) {
                    let row = block &* side &+ i
                    for j in Indices(below: min(side, columns &- strip &* side)) {
                        let column = strip &* side &+ j
                        unsafe target[column &* rows &+ row] = source[row &* columns &+ column]
                    }
                }
            }
        }
    }
}
