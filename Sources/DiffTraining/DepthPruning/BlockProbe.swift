import DiffTensor
import Glibc

/// Measures what blocks do to the stream: cosine similarity and squared distance of each block's input and output.
final class BlockProbe: Acceleration {
    /// Sums over tokens, by block: of cosines (eps 1e-8), and of squared differences over all elements.
    private(set) var cosines: [Double] = [], squares: [Double] = []
    private(set) var tokens = 0, elements = 0
    private var block: [Int] = []

    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard let layout = context.layouts.first else { return HookSet() }
        block = context.perSite(-1)
        cosines = Array(repeating: 0, count: max(0, layout.blockCount))
        squares = cosines
        (tokens, elements) = (0, 0)
        var hooks = HookSet()
        for (index, site) in context.sites(.block).numbered {
            block.put(index, at: site.number)
            hooks.modules.insert(site)
        }
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        let outputs = try compute()
        let (input, output) = (inputs.first, outputs.first)
        guard let index = block.at(site.number), cosines.indices.contains(index), output.shape == input.shape,
            let x = unsafe input.floats, let y = unsafe output.floats
        else { return outputs }
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
        return outputs
    }
}
