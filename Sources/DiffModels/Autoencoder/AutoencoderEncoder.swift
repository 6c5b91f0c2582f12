import DiffCheckpoint
import DiffTensor

/// Pixels to the moments of the latent distribution.
final class AutoencoderEncoder: Sendable {
    private let input, output: Convolution
    private let quant: Convolution?
    private let levels: [AutoencoderLevel]
    private let middle: MiddleBlock
    private let outputNorm: GroupNorm

    init(
        _ root: Weights, _ names: AutoencoderNames, _ c: AutoencoderConfiguration, _ layout: inout SiteLayout
    ) throws(DiffError) {
        let w = root.scope("encoder")
        let widths = c.levelChannels
        let first = c.firstChannels ?? widths[0]
        input = try Convolution(w.scope("conv_in"), c.inChannels, first, kernel: 3, window: .init(padding: 1))
        var levels: [AutoencoderLevel] = []
        for level in widths.indices {
            let name = names.down(level)
            let last = level == widths.count - 1
            levels.append(
                try AutoencoderLevel(
                    w.scope(name), names, level == 0 ? first : widths[level - 1], widths[level],
                    layers: c.layersPerBlock,
                    groups: c.groups, resampler: last ? nil : (names.downsampler, .halving), name: "encoder.\(name)",
                    &layout))
        }
        self.levels = levels
        let coarsest = widths[widths.count - 1]
        middle = try MiddleBlock(
            w, names, coarsest, groups: c.groups, attends: c.attends, prefix: "encoder", &layout)
        outputNorm = try GroupNorm(w.scope(names.lastNorm), coarsest, groups: c.groups)
        let moments = c.momentsPerLatent * c.latentChannels
        output = try Convolution(w.scope("conv_out"), coarsest, moments, kernel: 3, window: .init(padding: 1))
        quant =
            c.usesQuantConvolution
            ? try Convolution(
                root.scope("quant_conv"), moments, moments, kernel: c.quantKernel,
                window: .init(padding: c.quantKernel / 2)) : nil
    }

    /// `image` is [batch, inChannels, h, w] in [-1, 1]; gives [batch, 2 * latentChannels, h / factor, w / factor]: means,
    /// then log-variances (not clamped).
    func callAsFunction(_ image: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let h = try features(image, run)
        return if let quant { try quant(h, run) } else { h }
    }

    /// The same before the last convolution.
    func features(_ image: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        var h = try input(image, run)
        for level in levels.each {
            h = try level(h, run)
            run.workspace.trim()
        }
        h = try middle(h, run)
        return try output(h, run, norm: outputNorm)
    }
}
