public import DiffTensor

/// Sinusoidal features of the timestep through a two-layer network with SiLU between.
public struct TimestepEmbedding: Sendable {
    let frequencies: TimeFrequencies
    let first: Linear
    let second: Linear

    /// The sinusoidal features of `times` [batch]: [batch, 2 * half].
    public func features(_ times: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try run.timeFeatures(times, frequencies)
    }

    /// `times` [batch] to [batch, width].
    public func callAsFunction(_ times: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try embedded(features(times, run), run)
    }

    /// Features [batch, 2 * half] to [batch, width].
    func embedded(_ features: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try second(first(features, run, .silu), run)
    }
}
