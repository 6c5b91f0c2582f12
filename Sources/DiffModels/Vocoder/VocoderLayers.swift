import DiffCheckpoint
import DiffTensor

/// All layers of a HiFi-GAN vocoder, over a stretch of a spectrogram.
///
/// Source: `SpeechT5HifiGan` of transformers.
final class VocoderLayers: Sendable {
    private let inputSite, outputSite: Site
    private let input, output: SignalConvolution
    private let stages: [Stage]
    private let slope: Float

    private struct Stage: Sendable {
        let upsampler: SignalUpsampler
        let residuals: [ResidualSignal]

        /// Rows before and after one that the residual blocks see.
        var margin: Int { residuals.each.reduce(0) { max($0, $1.margin) } }
    }

    init(_ c: VocoderConfiguration, _ weights: Weights, _ layout: inout SiteLayout) throws(DiffError) {
        let taps = VocoderConfiguration.endTaps
        inputSite = layout.add("conv_pre", .other)
        input = try SignalConvolution(weights.scope("conv_pre"), c.bins, c.firstChannels, taps: taps)
        var stages: [Stage] = []
        var (channels, number) = (c.firstChannels, 0)
        for (index, stage) in c.stages.numbered {
            let upsampler = try SignalUpsampler(
                weights.scope("upsampler").scope(index: index), channels, stage,
                site: layout.add("upsampler.\(index)", .other))
            channels = stage.channels
            var residuals: [ResidualSignal] = []
            for settings in c.residuals.each {
                residuals.append(
                    try ResidualSignal(
                        weights.scope("resblocks").scope(index: number), channels, settings, slope: c.slope,
                        site: layout.add("resblocks.\(number)", .resnet)))
                number &+= 1
            }
            stages.append(Stage(upsampler: upsampler, residuals: residuals))
        }
        outputSite = layout.add("conv_post", .other)
        output = try SignalConvolution(weights.scope("conv_post"), channels, 1, taps: taps)
        (self.stages, slope) = (stages, c.slope)
    }

    /// The samples that can be computed of the frames of `span`, wherever these begin; nil beyond what a tensor may have.
    func span(_ span: Span) -> Span? {
        var span: Span? = span.shrunk(by: input.margin)
        for stage in stages.each {
            span = span.flatMap { $0.first < $0.end ? stage.upsampler.span($0)?.shrunk(by: stage.margin) : nil }
        }
        return span?.shrunk(by: output.margin)
    }

    /// The samples that can be computed of `x`, whose rows are frames: rows of one.
    func callAsFunction(_ x: Stretch, _ run: Run) throws(DiffError) -> Stretch {
        var h = try at(inputSite, x, run) { () throws(DiffError) in try input(x, slope: 1, run) }
        for stage in stages.each {
            let up = try at(stage.upsampler.site, h, run) { () throws(DiffError) in
                try stage.upsampler(h, slope: slope, run)
            }
            h = try mean(stage, up, run)
        }
        let last = try at(outputSite, h, run) { () throws(DiffError) in
            try output(h, slope: VocoderConfiguration.lastSlope, run)
        }
        return Stretch(rows: try run.softlyBounded(last.rows, by: 1), first: last.first, total: last.total)
    }

    /// The mean of what the residual blocks of `stage` make of `x`, where all have rows.
    private func mean(_ stage: Stage, _ x: Stretch, _ run: Run) throws(DiffError) -> Stretch {
        let span = x.span.shrunk(by: stage.margin)
        var sum: Tensor?
        for block in stage.residuals.each {
            let made = try at(block.site, x, run) { () throws(DiffError) in try block(x, run) }
            let rows = try made.trimmed(span.first, span.end).rows
            sum = if let sum { try run.add(sum, rows) } else { rows }
        }
        guard let sum else { return x }
        let mean = try run.scaled(sum, 1 / Float(max(1, stage.residuals.count)))
        return Stretch(rows: mean, first: span.first, total: x.total)
    }

    /// A module whose output has other rows than its input: a method may look at it, and answer with what it gave.
    private func at(
        _ site: Site, _ x: Stretch, _ run: Run, _ compute: () throws(DiffError) -> Stretch
    ) throws(DiffError) -> Stretch {
        var made: Stretch?
        let rows = try run.at(site, x.rows) { () throws(DiffError) in
            let out = try compute()
            made = out
            return out.rows
        }
        guard let made else { throw DiffError(.incompatible, "no part of a vocoder can be left out") }
        return Stretch(rows: rows, first: made.first, total: made.total)
    }
}
