public import DiffTensor
import Glibc

/// The fixed two-dimensional sine-cosine table of DiT: [grid * grid, width], row by row.
///
/// Per axis a quarter of the width each of sines, then cosines, of q / 10000^(4 k / width); the **first half encodes the
/// column**, the second the row. Computed in double precision like the official code (`get_2d_sincos_pos_embed`).
/// Throws `invalidArgument` unless `width` is a multiple of 4.
public func sinCosPositions(width: Int, grid: Int, budget: MemoryBudget? = nil) throws(DiffError) -> Tensor {
    guard width > 0, width % 4 == 0, grid > 0 else {
        throw DiffError(.invalidArgument, "a position table of width \(width) for a grid of \(grid)")
    }
    let table = try Tensor(uninitialized: Shape(grid * grid, width), budget: budget)
    guard let base = unsafe table.floats else { return table }
    let quarter = width / 4
    for row in 0..<grid {
        for column in 0..<grid {
            let token = unsafe base + (row * grid + column) * width
            for (half, position) in [(0, column), (1, row)] {
                for k in 0..<quarter {
                    let angle = Double(position) / pow(10000, Double(k) / Double(quarter))
                    unsafe token[half * 2 * quarter + k] = Float(sin(angle))
                    unsafe token[half * 2 * quarter + quarter + k] = Float(cos(angle))
                }
            }
        }
    }
    return table
}
