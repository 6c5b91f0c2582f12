extension Tensor {
    /// A matrix [rows, columns] as [columns, rows] in a block of its own, in the same element type; without elements where these have none.
    /// Throws `shape` for something else than a matrix, `outOfMemory`, `overBudget`.
    public func transposed(budget: MemoryBudget?) throws(DiffError) -> Tensor {
        guard shape.rank == 2 else { throw DiffError(.shape, "a \(shape) tensor is no matrix to transpose") }
        let (rows, columns) = (shape[0], shape[1])
        let turned = try Shape(columns, rows)
        guard let from = unsafe raw else { return try Tensor(Storage(virtual: byteCount), turned, dtype) }
        let out = try Tensor(Storage(byteCount: byteCount, budget: budget), turned, dtype)
        if let to = unsafe out.raw {
            unsafe transposeElements(from, into: to, rows: rows, columns: columns, elementBytes: dtype.size)
        }
        return out
    }
}

/// Puts the rows * columns elements at `from`, row by row, into those at `to`, column by column; both have room for them, and share none.
@unsafe public func transposeElements(
    _ from: UnsafeMutableRawPointer, into to: UnsafeMutableRawPointer, rows: Int, columns: Int, elementBytes: Int
) {
    switch elementBytes {
    case 8: unsafe transpose(from, to, rows, columns, UInt64.self)
    case 4: unsafe transpose(from, to, rows, columns, UInt32.self)
    case 2: unsafe transpose(from, to, rows, columns, UInt16.self)
    case 1: unsafe transpose(from, to, rows, columns, UInt8.self)
    // Parts of bytes are in no matrix that is turned.
    default: break
    }
}

/// In squares, so that lines of the cache are used whole on both sides.
@unsafe private func transpose<Word: BitwiseCopyable>(
    _ from: UnsafeMutableRawPointer, _ to: UnsafeMutableRawPointer, _ rows: Int, _ columns: Int, _: Word.Type
) {
    let (size, side) = (MemoryLayout<Word>.size, 32)
    for block in Indices(below: (rows &+ side &- 1) / side) {
        for strip in Indices(below: (columns &+ side &- 1) / side) {
            for i in Indices(below: min(side, rows &- block &* side)) {
                let row = block &* side &+ i
                for j in Indices(below: min(side, columns &- strip &* side)) {
                    let column = strip &* side &+ j
                    // Files put elements at any byte.
                    let word = unsafe from.loadUnaligned(
                        fromByteOffset: (row &* columns &+ column) &* size, as: Word.self)
                    unsafe to.storeBytes(of: word, toByteOffset: (column &* rows &+ row) &* size, as: Word.self)
                }
            }
        }
    }
}
