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
        /// table says, in a hundredth of the memory.
        case axis(Tensor)
    }

    private let table: Table
    private let side, width: Int

    /// The file's `pos_embed` [1, side * side, width]; where it has none, sines and cosines of positions that reach from 0 to `base`.
    init(_ weights: Weights, side: Int, width: Int, base: Int) throws(DiffError) {
        (self.side, self.width) = (side, width)
        if weights.has("pos_embed") {
            let stored = try weights.tensor("pos_embed", [1, side &* side, width])
            table = .whole(try stored.reshaped(Shape(side &* side, width)))
        } else {
            table = .axis(try Self.axis(side: side, width: width / 2, base: base, weights.options))
        }
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
        let (ys, xs) = (tokens.each.map { top &+ $0 / columns }, tokens.each.map { left &+ $0 % columns })
        switch table {
        case .whole(let table):
            return try run.embedding(table, tokens.each.map { (top &+ $0 / columns) &* side &+ left &+ $0 % columns })
        case .axis(let axis):
            let out = try run.workspace.take(Shape(tokens.count, 2, width / 2))
            let half = try Shape(tokens.count, 1, width / 2)
            try run.storeTokens(run.embedding(axis, xs).reshaped(half), in: out, at: 0)
            try run.storeTokens(run.embedding(axis, ys).reshaped(half), in: out, at: 1)
            return try out.reshaped(Shape(tokens.count, width))
        }
    }
}
