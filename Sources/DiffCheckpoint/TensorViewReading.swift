import DiffTensor

/// Reading tensors that a view puts together otherwise than they stand in the file.
extension TensorTable {
    /// Reads `count` bytes of the tensor, as it is handed out, from byte `first` on.
    func readFormed(
        _ place: Place, from first: Int, count: Int, into block: Storage, at start: Int, pool: WorkerPool?
    ) throws(DiffError) {
        let size = place.entry.byteCount
        guard first >= 0, count >= 0, let end = Checked.add(first, count), end <= size else {
            throw DiffError(.internal, "\(path): bytes beyond tensor \"\(place.entry.name)\"")
        }
        switch place.form {
        case .asStored: try readStored(place, from: first, count: count, into: block, at: start, pool: pool)
        case .swappedHalves:
            // Byte i of the first half handed out is byte half + i of the file's, and the reverse.
            let half = size / 2
            let before = max(0, min(count, half &- first))
            if before > 0 {
                try readStored(place, from: half &+ first, count: before, into: block, at: start, pool: pool)
            }
            if count > before {
                try readStored(
                    place, from: first &+ before &- half, count: count &- before, into: block, at: start &+ before,
                    pool: pool)
            }
        case .transposed(let rows, let columns):
            let stored = try Storage(byteCount: size, budget: nil)
            try readStored(place, from: 0, count: size, into: stored, at: 0, pool: pool)
            let whole = first == 0 && count == size && start == 0
            let turned = whole ? block : try Storage(byteCount: size, budget: nil)
            if let from = unsafe stored.base, let to = unsafe turned.base {
                // Both blocks have rows * columns elements, by the file's header.
                unsafe transposeElements(
                    from, into: to, rows: rows, columns: columns, elementBytes: place.entry.type.bits / 8)
            }
            if !whole { try Self.copy(turned, from: first, count: count, into: block, at: start) }
        case .identity(let side):
            let whole = try Storage(byteCount: size, budget: nil)
            if let values = unsafe whole.base?.assumingMemoryBound(to: Float.self) {
                unsafe values.update(repeating: 0, count: max(0, size / 4))
                // side * side elements of four bytes are the block.
                for index in Indices(below: side) { unsafe values[index &* (side &+ 1)] = 1 }
            }
            try Self.copy(whole, from: first, count: count, into: block, at: start)
        }
    }

    private static func copy(
        _ from: Storage, from first: Int, count: Int, into block: Storage, at start: Int
    ) throws(DiffError) {
        guard first >= 0, start >= 0, count >= 0, let last = Checked.add(first, count), last <= from.byteCount,
            let end = Checked.add(start, count), end <= block.byteCount
        else { throw DiffError(.internal, "\(count) bytes do not fit a block of \(block.byteCount)") }
        if let source = unsafe from.base, let target = unsafe block.base {
            unsafe (target + start).copyMemory(from: source + first, byteCount: count)
        }
    }
}
