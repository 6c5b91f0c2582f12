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
        guard let layer = layers.at(ScaleSchedule.convolution(scale, of: scales, among: layers.count)) else { return x }
        return try run.combine(1 - blend, x, blend, layer(x, run))
    }
}
