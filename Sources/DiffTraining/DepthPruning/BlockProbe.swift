import DiffTensor
import Glibc

/// Measures what blocks do to the stream: cosine similarity and squared distance of each block's input and output.
final class BlockProbe: Acceleration {
    /// Sums over tokens, by block: of cosines (eps 1e-8), and of squared differences over all elements.
    private(set) var cosines: [Double] = [], squares: [Double] = []
    private(set) var tokens = 0, elements = 0
    private var block: [Int] = []

    func begin(_ opening: Opening) throws(DiffError) -> Interest {
        guard let layout = opening.layouts.first else { return Interest() }
        block = Array(repeating: -1, count: layout.sites.count)
        cosines = Array(repeating: 0, count: max(0, layout.blockCount))
        squares = cosines
        (tokens, elements) = (0, 0)
        var interest = Interest()
        for (index, site) in layout.sites(.block).numbered {
            block.put(index, at: site.number)
            interest.modules.insert(site)
        }
        return interest
    }

    func module(_ site: Site, _ input: Tensor, _ run: Run, _ compute: Compute) throws(DiffError) -> Tensor {
        let output = try compute()
        guard let index = block.at(site.number), cosines.indices.contains(index), output.shape == input.shape,
            let x = unsafe input.floats, let y = unsafe output.floats
        else { return output }
        let width = input.shape.last
        var (cosine, square) = (0.0, 0.0)
        for row in Indices(below: input.shape.rows) {
            var (xy, xx, yy) = (0.0, 0.0, 0.0)
            for column in Indices(below: width) {
                let at = row &* width &+ column
                let (a, b) = unsafe (Double(x[at]), Double(y[at]))
                xy += a * b
                xx += a * a
                yy += b * b
                square += (b - a) * (b - a)
            }
            cosine += xy / (max(xx.squareRoot(), 1e-8) * max(yy.squareRoot(), 1e-8))
        }
        cosines.update(at: index) { $0 += cosine }
        squares.update(at: index) { $0 += square }
        if index == 0 {
            tokens &+= input.shape.rows
            elements &+= input.shape.count
        }
        return output
    }
}
