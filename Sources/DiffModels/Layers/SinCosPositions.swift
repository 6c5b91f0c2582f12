public import DiffTensor
import Glibc

/// The fixed two-dimensional sine-cosine table of DiT: [grid * grid, width], row by row.
///
/// Per axis a quarter of the width each of sines, then cosines, of q / 10000^(4 k / width); the **first half encodes the
/// column**, the second the row. Computed in double precision like the official code (`get_2d_sincos_pos_embed`).
/// Throws `invalidArgument` unless `width` is a multiple of 4.
public func sinCosPositions(width: Int, grid: Int, budget: MemoryBudget? = nil) throws(DiffError) -> Tensor {
    guard width > 0, width % 4 == 0, grid > 0, let tokens = Checked.multiply(grid, grid) else {
        throw DiffError(.invalidArgument, "a position table of width \(width) for a grid of \(grid)")
    }
    let table = try Tensor(uninitialized: Shape(tokens, width), budget: budget)
    guard let base = unsafe table.floats else { return table }
    let quarter = width / 4
    for token in Indices(below: tokens) {
        for k in Indices(below: quarter) {
            let frequency = pow(10000, Double(k) / Double(quarter))
            let (column, row) = (Double(token % grid) / frequency, Double(token / grid) / frequency)
            let values = unsafe base + (token &* width &+ k)
            unsafe values[0] = Float(sin(column))
            unsafe values[quarter] = Float(cos(column))
            unsafe values[2 &* quarter] = Float(sin(row))
            unsafe values[3 &* quarter] = Float(cos(row))
        }
    }
    return table
}
