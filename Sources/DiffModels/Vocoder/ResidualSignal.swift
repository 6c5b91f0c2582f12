import DiffCheckpoint
import DiffTensor

/// Pairs of convolutions along time, the first of them dilated, each pair added to what it was given.
///
/// Source: `HifiGanResidualBlock` of transformers.
struct ResidualSignal: Sendable {
    let site: Site
    private let pairs: [(first: SignalConvolution, second: SignalConvolution)]
    private let slope: Float

    init(
        _ w: Weights, _ channels: Int, _ settings: VocoderConfiguration.Residual, slope: Float, site: Site
    ) throws(DiffError) {
        var pairs: [(first: SignalConvolution, second: SignalConvolution)] = []
        for (index, dilation) in settings.dilations.numbered {
            pairs.append(
                (
                    try SignalConvolution(
                        w.scope("convs1").scope(index: index), channels, channels, taps: settings.kernel,
                        dilation: dilation),
                    try SignalConvolution(
                        w.scope("convs2").scope(index: index), channels, channels, taps: settings.kernel)
                ))
        }
        (self.pairs, self.slope, self.site) = (pairs, slope, site)
    }

    /// Rows before and after one that it sees.
    var margin: Int { pairs.each.reduce(0) { $0 &+ $1.first.margin &+ $1.second.margin } }

    func callAsFunction(_ x: Stretch, _ run: Run) throws(DiffError) -> Stretch {
        var h = x
        for (index, pair) in pairs.numbered {
            let between = try pair.first(h, slope: slope, lastSlope: slope, run)
            let span = pair.second.span(between)
            let same = try h.trimmed(span.first, span.end)
            // What the block was given serves its neighbours too; what it made itself may be added to.
            let sum = index == 0 ? try run.copy(same.rows) : same.rows
            h = try pair.second(between, slope: 1, addingTo: sum, run)
        }
        return h
    }
}
