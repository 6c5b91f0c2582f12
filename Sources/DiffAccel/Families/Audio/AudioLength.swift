import DiffCheckpoint
import DiffModels
import DiffTensor
import Glibc

/// How long a sound is, in seconds, frames of its spectrogram, latents and values.
struct AudioLength: Sendable, Equatable {
    /// What decides on it: the vocoder's rates, and how many frames a latent is.
    struct Rates: Sendable, Equatable {
        /// Values of a second.
        let sampleRate: Int
        /// Values that the vocoder makes of a frame.
        let hop: Int
        /// Frames of a latent.
        let factor: Int

        /// Seconds of a frame, rounded as diffusers' pipelines have it.
        var frame: Double { Double(hop) / Double(max(1, sampleRate)) }
        /// The shortest sound: one latent.
        var least: Double { Double(factor) * frame }
    }

    /// The longest sound of a request, in seconds.
    static let most = 600.0

    /// Steps of the latents in time.
    let latents: Int
    /// Frames of the spectrogram.
    let frames: Int
    /// Values that are kept.
    let samples: Int

    /// That of `seconds`. Throws `invalidArgument` for less than a latent or more than ``most``.
    init(seconds: Double, _ rates: Rates) throws(DiffError) {
        guard seconds >= rates.least, seconds <= Self.most else {
            throw DiffError(
                .invalidArgument, "request: seconds must be \(rates.least)...\(Self.most), found \(seconds)")
        }
        // In double, and cut off, exactly as the pipelines do it.
        let whole = Int(exactly: trunc(seconds / rates.frame)) ?? 0
        samples = Int(exactly: trunc(seconds * Double(rates.sampleRate))) ?? 0
        latents = max(1, (whole &+ rates.factor &- 1) / max(1, rates.factor))
        frames = latents &* rates.factor
    }
}
