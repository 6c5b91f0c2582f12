import DiffCheckpoint
import DiffTensor

/// The convolutions that smooth an enlarged token map (φ of the paper): φ(x) = (1 - b) x + b conv(x), a few of them shared by all
/// scales.
struct BlendedConvolutions: Sendable {
    private let layers: [Convolution]
    private let blend: Float

    init(_ w: Weights, _ c: VQVAEConfiguration, scales: Int) throws(DiffError) {
        blend = c.blend
        let names: [String]
        switch c.shares {
        case 0: names = Indices(below: scales).map { "quant_resi.\($0)" }
        case 1: names = ["quant_resi.qresi"]
        default: names = Indices(below: c.shares).map { "quant_resi.qresi_ls.\($0)" }
        }
        guard c.blend > 1e-6 else {
            w.markUsed(prefix: "quant_resi.")
            layers = []
            return
        }
        var layers: [Convolution] = []
        for name in names.each {
            layers.append(
                try Convolution(
                    w.scope(name), c.codeChannels, c.codeChannels, kernel: 3, window: .init(padding: 1)))
        }
        self.layers = layers
    }

    func callAsFunction(_ x: Tensor, scale: Int, of scales: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard let layer = layers.at(Self.index(scale, of: scales, among: layers.count)) else { return x }
        return try run.combine(1 - blend, x, blend, layer(x, run))
    }

    /// The layer whose tick is nearest to scale / (scales - 1), the first of equally near ones.
    ///
    /// Ties occur, also at the published ten scales, and are decided by the last bit: the ticks are computed as
    /// `numpy.linspace` does.
    static func index(_ scale: Int, of scales: Int, among count: Int) -> Int {
        guard count > 1 else { return 0 }
        let n = Double(count)
        let (first, last) = count == 4 ? (1 / 3 / n, 1 - 1 / 3 / n) : (1 / 2 / n, 1 - 1 / 2 / n)
        let step = (last - first) / (n - 1)
        let place = Double(scale) / Double(max(1, scales &- 1))
        var (best, distance) = (0, Double.infinity)
        for tick in Indices(below: count) {
            let value = tick == count &- 1 ? last : Double(tick) * step + first
            if (value - place).magnitude < distance { (best, distance) = (tick, (value - place).magnitude) }
        }
        return best
    }
}
