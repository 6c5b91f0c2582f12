import DiffCheckpoint
import DiffTensor

/// Mean and standard deviation of each channel of an autoencoder's latents: `latents_mean` and `latents_std` of diffusers.
public struct ChannelStatistics: Sendable, Equatable {
    /// By channel.
    public let means, deviations: [Float]

    /// Those of a config; nil where it has none. Throws `format` for one of the two, or for another number of channels.
    init?(_ c: JSONObject, channels: Int) throws(DiffError) {
        guard c.has("latents_mean") || c.has("latents_std") else { return nil }
        for (key, other) in [("latents_mean", "latents_std"), ("latents_std", "latents_mean")] where !c.has(key) {
            throw c.error(other, "needs \(key) beside it")
        }
        means = try c.numbers("latents_mean", in: -1e6...1e6).map { Float($0) }
        deviations = try c.numbers("latents_std", in: 1e-6...1e6).map { Float($0) }
        for (key, count) in [("latents_mean", means.count), ("latents_std", deviations.count)] where count != channels {
            throw c.error(key, "\(count) numbers for \(channels) latent channels")
        }
    }
}
