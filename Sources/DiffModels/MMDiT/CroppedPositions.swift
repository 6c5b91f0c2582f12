import DiffCheckpoint
import DiffTensor
import Glibc

/// Position embeddings of images of any size up to a square of `side` patches, of which they are the centre. Source: `PatchEmbed` of
/// diffusers with `pos_embed_max_size`.
struct CroppedPositions: Sendable {
    private enum Table: Sendable {
        /// [side * side, width] in the file's element type.
        case whole(Tensor)
        /// [side, width / 2]: what stands for a column in the first half of an embedding and for a row in the second. All that a sine-cosine
        /// table says, and those are what published files hold; in a hundredth of the memory.
        case axis(Tensor)
    }

    private let table: Table
    private let side, width: Int

    /// The file's `pos_embed` [1, side * side, width]; where it has none, sines and cosines of positions that reach from 0 to `base`.
    init(_ weights: Weights, side: Int, width: Int, base: Int) throws(DiffError) {
        (self.side, self.width) = (side, width)
        if weights.has("pos_embed") {
            let stored = try weights.tensor("pos_embed", [1, side &* side, width])
            let whole = try stored.reshaped(Shape(side &* side, width))
            let axis = try Self.axis(of: whole, side: side, width: width / 2, weights.options.budget)
            table = if let axis { .axis(axis) } else { .whole(whole) }
        } else {
            table = .axis(try Self.axis(side: side, width: width / 2, base: base, weights.options))
        }
    }

    /// What `table` says of one axis, if that is all it says: where a half depends on the column or the row alone, and both halves alike.
    private static func axis(
        of table: Tensor, side: Int, width: Int, _ budget: MemoryBudget?
    ) throws(DiffError) -> Tensor? {
        let half = width &* table.dtype.size
        guard let base = unsafe table.raw, table.shape.count == 2 &* side &* side &* width else { return nil }
        func first(_ row: Int, _ column: Int) -> UnsafeMutableRawPointer {
            unsafe base + (row &* side &+ column) &* 2 &* half
        }
        for row in Indices(below: side) {
            for column in Indices(below: side) {
                let token = unsafe first(row, column)
                guard unsafe memcmp(token, first(0, column), half) == 0,
                    unsafe memcmp(token + half, first(0, row), half) == 0
                else { return nil }
            }
        }
        let shape = try Shape(side, width)
        let axis = try Tensor(Storage(byteCount: shape.count &* table.dtype.size, budget: budget), shape, table.dtype)
        guard let target = unsafe axis.raw else { return nil }
        for position in Indices(below: side) {
            unsafe (target + position &* half).copyMemory(from: first(0, position), byteCount: max(0, half))
        }
        return axis
    }

    /// Sines, then cosines of q / 10000^(2 k / width) in double precision, for positions q in single precision as the reference has them.
    private static func axis(
        side: Int, width: Int, base: Int, _ options: Weights.Options
    ) throws(DiffError) -> Tensor {
        let shape = try Shape(side, width)
        guard !options.dryRun else { return try Tensor(Storage(virtual: shape.count &* 4), shape) }
        let table = try Tensor(uninitialized: shape, budget: options.budget)
        guard let values = unsafe table.floats else { return table }
        let (half, stride) = (width / 2, Float(Double(side) / Double(max(1, base))))
        for position in Indices(below: side) {
            let place = Double(Float(position) / stride)
            for k in Indices(below: half) {
                let angle = place * (1 / pow(10000, Double(k) / Double(half)))
                unsafe values[position &* width &+ k] = Float(sin(angle))
                unsafe values[position &* width &+ half &+ k] = Float(cos(angle))
            }
        }
        return table
    }

    /// Those of an image of `rows` by `columns` patches, row by row: [rows * columns, width]. Throws `shape` when it is larger than the
    /// square.
    func callAsFunction(rows: Int, columns: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard rows > 0, columns > 0, rows <= side, columns <= side else {
            throw DiffError(
                .shape, "an image of \(rows) x \(columns) patches; there are positions for \(side) x \(side)")
        }
        let (top, left) = ((side &- rows) / 2, (side &- columns) / 2)
        let tokens = Array(Indices(below: rows &* columns))
        switch table {
        case .whole(let table):
            return try run.embedding(table, tokens.each.map { (top &+ $0 / columns) &* side &+ left &+ $0 % columns })
        case .axis(let axis):
            let out = try run.workspace.take(Shape(tokens.count, 2, width / 2))
            let half = try Shape(tokens.count, 1, width / 2)
            let (xs, ys) = (tokens.each.map { left &+ $0 % columns }, tokens.each.map { top &+ $0 / columns })
            try run.storeTokens(run.embedding(axis, xs).reshaped(half), in: out, at: 0)
            try run.storeTokens(run.embedding(axis, ys).reshaped(half), in: out, at: 1)
            return try out.reshaped(Shape(tokens.count, width))
        }
    }
}
