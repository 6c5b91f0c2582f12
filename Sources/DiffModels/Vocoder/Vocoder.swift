public import DiffCheckpoint
public import DiffTensor

/// The HiFi-GAN vocoder of AudioLDM and AudioLDM2 (`SpeechT5HifiGan` of transformers): log-mel spectrograms to waveforms.
///
/// Works on stretches of a spectrogram one after the other, each with as many frames around it as it sees, so that memory does not grow
/// with the length and the bits are those of the whole. Immutable after loading; any number of runs may use one at once.
public final class Vocoder: Sendable {
    /// Sizes and options.
    public let configuration: VocoderConfiguration
    /// Sites by module path: both ends, upsamplers and residual blocks.
    public let layout: SiteLayout
    private let layers: VocoderLayers
    /// Of each bin; nil: spectrograms are taken as they are.
    private let statistics: (means: Tensor, deviations: Tensor)?
    /// Frames before and after one that are seen.
    private let margin: Int

    /// Frames at once: some seconds. More would not read weights much more seldom, fewer compute more frames twice.
    public static let frames = 512

    /// Loads the vocoder. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: VocoderConfiguration, _ weights: Weights) throws(DiffError) {
        let c = configuration
        // Each part has tensors of its own; a config that claims more must not make us build them first.
        guard c.parts <= weights.table.count else {
            throw DiffError(
                .incompatible, "\(weights.table.path): \(weights.table.count) tensors cannot be \(c.parts) convolutions"
            )
        }
        var layout = SiteLayout(family: "speecht5_hifigan")
        layers = try VocoderLayers(c, weights, &layout)
        if c.normalises {
            statistics = (try weights.vector("mean", c.bins), try weights.vector("scale", c.bins))
        } else {
            for name in ["mean", "scale"].each where weights.has(name) { _ = try weights.vector(name, c.bins) }
            statistics = nil
        }
        try weights.finish()
        (self.configuration, self.layout) = (c, layout)
        margin = try Self.margin(layers, factor: c.factor)
    }

    /// Frames that a stretch needs on each side to give the samples that its own stand for.
    private static func margin(_ layers: VocoderLayers, factor: Int) throws(DiffError) -> Int {
        // In the middle of a signal longer than anything is seen of.
        let (most, middle) = (1 << 12, 1 << 13)
        for margin in Indices(below: most) {
            let around = Span(first: middle &- margin, end: middle &+ margin, total: 2 &* middle)
            guard let span = layers.span(around), let sample = Checked.multiply(middle, factor) else { continue }
            if span.first <= sample, span.end >= sample { return margin }
        }
        throw DiffError(
            .unsupported, "a vocoder that sees more than \(most) frames around one, or of more samples for each")
    }

    /// Waveforms of the log-mel spectrograms `mel` [n, frames, bins]: [n, samples], -1...1. Throws `shape`.
    public func callAsFunction(_ mel: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let samples = try samples(of: mel)
        let out = try run.workspace.take(Shape(mel.shape[0], samples))
        try stream(mel, run) { (first, stretch) throws(DiffError) in
            try run.storeColumns(stretch, in: out, at: first)
        }
        return out
    }

    /// The same stretch by stretch: `deliver` is given the number of the first sample, and [n, count] samples. What it is given serves
    /// the next stretch, so it copies what it keeps.
    ///
    /// Samples from `limit` on are not computed. Throws `shape`, and what `deliver` throws.
    public func stream(
        _ mel: Tensor, limit: Int? = nil, _ run: Run,
        _ deliver: (_ first: Int, _ stretch: Tensor) throws(DiffError) -> Void
    ) throws(DiffError) {
        let samples = min(try samples(of: mel), max(0, limit ?? .max))
        let (count, frames) = (mel.shape[0], mel.shape[1])
        let step = max(Self.frames, 2 &* margin)
        var frame = 0
        while frame < frames {
            // What is left behind a last stretch joins it.
            let isLast = frame &+ step &+ margin >= frames
            let end = isLast ? frames : frame &+ step
            let first = frame &* configuration.factor
            let until = isLast ? samples : min(samples, end &* configuration.factor)
            guard first < until else { return }
            let out = try run.workspace.take(Shape(count, until &- first))
            for sample in Indices(below: count) {
                let rows = try mel.rows(sample, 1).reshaped(Shape(frames, configuration.bins))
                let made = try layers(stretch(rows, frame, end, run), run).trimmed(first, until)
                try run.storeColumns(made.rows.reshaped(Shape(1, until &- first)), in: out, row: sample, at: 0)
            }
            try deliver(first, out)
            frame = end
        }
    }

    private func samples(of mel: Tensor) throws(DiffError) -> Int {
        guard mel.shape.rank == 3, mel.shape[2] == configuration.bins, mel.shape.count > 0 else {
            throw DiffError(.shape, "spectrograms \(mel.shape), expected [n, frames, \(configuration.bins)]")
        }
        guard let samples = configuration.samples(frames: mel.shape[1]) else {
            throw DiffError(.shape, "\(mel.shape[1]) frames become more samples than there can be: give fewer")
        }
        return samples
    }

    /// Frames `first ..< end` of `rows` with those around them that are seen.
    private func stretch(_ rows: Tensor, _ first: Int, _ end: Int, _ run: Run) throws(DiffError) -> Stretch {
        let from = max(0, first &- margin)
        let until = min(rows.shape[0], end &+ margin)
        var part = try rows.rows(from, until &- from)
        if let statistics {
            part = try run.standardisedColumns(part, means: statistics.means, deviations: statistics.deviations)
        }
        return Stretch(rows: part, first: from, total: rows.shape[0])
    }
}
