import DiffModels
import DiffTensor

/// Latents to sounds: a spectrogram by the autoencoder, and values of it by the vocoder, which gives them stretch by stretch.
///
/// Results have `audio` [n, values] in -1 ... 1 and `mel` [n, frames, bins]. Memory is bounded by these, whatever their length.
struct WaveformDecoder: StateDecoder {
    let autoencoder: Autoencoder
    let vocoder: Vocoder
    /// Frames of the spectrograms, and values that are kept of what the vocoder makes.
    let frames: Int, samples: Int

    var name: String { vocoder.layout.family }
    var takesTiles: Bool { false }

    func decode(
        _ state: Tensor, tile: Int?, _ run: Run, progress: (DecodeProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> [Tensor] {
        let (count, bins) = (state.shape[0], vocoder.configuration.bins)
        let mel = try run.workspace.take(Shape(count, frames, bins))
        for row in Indices(below: count) {
            let one = try autoencoder.decode(state.rows(row, 1), run)
            try run.requireFinite(
                one, "the spectrogram of sound \(row &+ 1) of \(count) (the autoencoder's weights)")
            try run.store(one.reshaped(Shape(1, frames, bins)), in: mel, row: row)
            run.workspace.trim()
            try progress(DecodeProgress(done: row &+ 1, count: count))
        }
        return [try waveforms(mel, run, progress), mel]
    }

    /// The values of all sounds, [n, values].
    private func waveforms(
        _ mel: Tensor, _ run: Run, _ progress: (DecodeProgress) throws(DiffError) -> Void
    ) throws(DiffError) -> Tensor {
        let count = mel.shape[0]
        // The vocoder may make fewer than the request's seconds are, where these are no whole frames.
        let length = min(samples, vocoder.configuration.samples(frames: frames) ?? 0)
        let all = try run.workspace.take(Shape(count, length, 1))
        for row in Indices(below: count) {
            try vocoder.stream(mel.rows(row, 1), limit: length, run) { (first, stretch) throws(DiffError) in
                let values = stretch.shape.last
                try run.requireFinite(stretch, "the values of sound \(row &+ 1) of \(count) (the vocoder's weights)")
                try run.storeTokens(stretch.reshaped(Shape(1, values, 1)), in: all, row: row, at: first)
                let audio = AudioStretch(waveform: row, first: first, samples: try stretch.reshaped(Shape(values)))
                try progress(
                    DecodeProgress(
                        stage: .vocode, done: Checked.sum(row &* length, first, values),
                        count: count &* length, audio: audio))
            }
            run.workspace.trim()
        }
        return try all.reshaped(Shape(count, length))
    }

    func results(_ decoded: [Tensor], _ run: Run, budget: MemoryBudget?) throws(DiffError) -> [ResultTensor] {
        var results: [ResultTensor] = []
        if let audio = decoded.first { results.append(ResultTensor("audio", audio)) }
        if let mel = decoded.at(1) { results.append(ResultTensor("mel", mel)) }
        return results
    }
}
