import DiffCheckpoint
import DiffTensor

/// Latents to pixels: conv in, middle, levels from coarse to fine with nearest-neighbour doubling between, norm, conv out.
final class AutoencoderDecoder: Sendable {
    private let postQuant: Convolution?
    private let inputSite, outputNormSite: Site
    private let input, output: Convolution
    private let middle: MiddleBlock
    private let levels: [AutoencoderLevel]
    private let outputNorm: GroupNorm

    init(
        _ root: Weights, _ names: AutoencoderNames, _ c: AutoencoderConfiguration, _ layout: inout SiteLayout
    ) throws(DiffError) {
        let w = root.scope("decoder")
        let widths = Array(c.levelChannels.reversed())
        postQuant =
            c.usesPostQuantConvolution
            ? try Convolution(
                root.scope("post_quant_conv"), c.latentChannels, c.latentChannels, kernel: c.quantKernel,
                window: .init(padding: c.quantKernel / 2)) : nil
        inputSite = layout.add("decoder.conv_in", .other)
        input = try Convolution(w.scope("conv_in"), c.latentChannels, widths[0], kernel: 3, window: .init(padding: 1))
        middle = try MiddleBlock(
            w, names, widths[0], groups: c.groups, attends: c.attends, prefix: "decoder", &layout)
        var levels: [AutoencoderLevel] = []
        for level in widths.indices {
            let name = names.up(level, of: widths.count)
            let last = level == widths.count - 1
            levels.append(
                try AutoencoderLevel(
                    w.scope(name), names, widths[max(0, level - 1)], widths[level], layers: c.layersPerBlock + 1,
                    groups: c.groups,
                    resampler: last ? nil : (names.upsampler, ConvolutionWindow(padding: 1, upsample: 2)),
                    name: "decoder.\(name)", &layout))
        }
        self.levels = levels
        let finest = widths[widths.count - 1]
        outputNormSite = layout.add("decoder.\(names.lastNorm)", .other)
        outputNorm = try GroupNorm(w.scope(names.lastNorm), finest, groups: c.groups)
        output = try Convolution(w.scope("conv_out"), finest, c.outChannels, kernel: 3, window: .init(padding: 1))
    }

    /// `z` is [batch, latentChannels, h, w] in the autoencoder's own scale; gives [batch, outChannels, h * factor, w * factor].
    func callAsFunction(_ z: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        var h = if let postQuant { try postQuant(z, run) } else { z }
        h = try run.at(inputSite, h) { [h] () throws(DiffError) in try input(h, run) }
        h = try middle(h, run)
        var enlarged: EnlargedPlanes?
        for level in levels.each {
            var next: EnlargedPlanes?
            h = try run.at(level.site, h) { [h, enlarged] () throws(DiffError) in
                let out = try level.features(h, enlarged: enlarged, run)
                next = EnlargedPlanes(out, through: level.resampler)
                guard next == nil, let resampler = level.resampler else { return out }
                return try resampler(out, run)
            }
            enlarged = next
            // Levels have different sizes: what one used serves no other, and the finest needs the memory most.
            run.workspace.trim()
        }
        return try output(h, run, norm: outputNorm, at: outputNormSite)
    }
}
