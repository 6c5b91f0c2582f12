import Glibc

/// Cosines and sines of rotary positions: angle(p, j) = p · base^(-2j / headDim) for the pairs j of a head.
///
/// In f32 at every stage, as the published models make their tables: at position 4096 an angle in higher precision differs from
/// theirs by more than the tolerance of their results.
public struct RotaryTable: Sendable {
    /// Positions 0 ..< count.
    public let count: Int
    /// [count, headDim / 2]
    let cosines: Tensor, sines: Tensor

    /// The table of `count` positions. Throws memory errors, and `shape` for an odd head.
    public init(count: Int, headDim: Int, base: Float, _ run: Run) throws(DiffError) {
        guard headDim > 0, headDim % 2 == 0, count >= 0 else {
            throw DiffError(.shape, "rotary positions for a head of \(headDim)")
        }
        let half = headDim / 2
        self.count = count
        cosines = try run.workspace.take(Shape(count, half))
        sines = try run.workspace.take(Shape(count, half))
        guard !run.isDry, let cosine = unsafe cosines.floats, let sine = unsafe sines.floats else { return }
        let frequencies = Indices(below: half).map { 1 / powf(base, Float(2 &* $0) / Float(headDim)) }
        for position in Indices(below: count) {
            for (j, frequency) in frequencies.numbered {
                let angle = Float(position) * frequency
                unsafe cosine[position &* half &+ j] = cosf(angle)
                unsafe sine[position &* half &+ j] = sinf(angle)
            }
        }
    }
}
