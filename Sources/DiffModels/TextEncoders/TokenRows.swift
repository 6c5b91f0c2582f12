import DiffTensor

/// Checks of the rows of tokens that text encoders are given.
enum TokenRows {
    /// The length of all rows. Throws `shape` when there is none, or when they differ or are longer than `most`.
    static func length(_ rows: [[Int]], most: Int, _ limit: StaticString) throws(DiffError) -> Int {
        guard let length = rows.first?.count, length > 0 else { throw DiffError(.shape, "no tokens to encode") }
        guard rows.each.allSatisfy({ $0.count == length }) else {
            throw DiffError(.shape, "texts of different lengths in a batch: pad them to one")
        }
        guard length <= most else {
            throw DiffError(.shape, "a text of \(length) tokens; \(limit) are \(most): truncate it")
        }
        return length
    }

    /// The mask that hides what is false in `mask`, a row for each of `texts` of `length` tokens. Throws `shape` for other sizes.
    static func hidden(
        _ mask: [[Bool]], _ texts: Int, _ length: Int, _ run: Run
    ) throws(DiffError) -> KeyMask {
        guard mask.count == texts, mask.each.allSatisfy({ $0.count == length }) else {
            throw DiffError(.shape, "a mask of \(mask.count) rows for \(texts) texts of \(length) tokens")
        }
        return try KeyMask.hiding(mask, run)
    }
}
