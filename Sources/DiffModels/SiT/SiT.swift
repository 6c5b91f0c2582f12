public import DiffCheckpoint
public import DiffTensor

/// Scalable interpolant transformer (Ma et al. 2024, arXiv 2401.08740): DiT's network, trained to predict the velocity of a flow.
///
/// Times are 0 (noise) ... 1 (data) and enter the time embedding as they are. Where the checkpoint predicts twice the channels of the
/// state (`learn_sigma`, as the released models do), the second half means nothing and is dropped.
/// Immutable after loading; any number of runs may use one model at once.
public final class SiT: Denoiser {
    /// Sizes, under DiT's names.
    public let configuration: DiTConfiguration
    private let network: DiT

    /// Loads the network. Throws `format` listing every tensor that is missing, unused or of the wrong shape.
    public init(_ configuration: DiTConfiguration, _ weights: Weights) throws(DiffError) {
        self.configuration = configuration
        network = try DiT(configuration, weights, family: "sit")
    }

    /// Sites by module path.
    public var layout: SiteLayout { network.layout }
    /// Channels of the state.
    public var channels: Int { configuration.inChannels }
    /// Side of the square state.
    public var side: Int { configuration.inputSize }
    /// Channels of the prediction: those of the state, as what follows them is dropped.
    public var predictedChannels: Int { configuration.inChannels }
    /// Rows of the class table.
    public var classRows: Int { configuration.classRows }
    /// The class that means "no class"; nil where there is none.
    public var nullClass: Int? { configuration.nullClass }

    /// The velocity [n, channels, side, side] at `x` of the same shape and the times `t` [n], 0 ... 1; `y` has one class per sample.
    public func callAsFunction(_ x: Tensor, t: Tensor, y: [Int], _ run: Run) throws(DiffError) -> Tensor {
        try run.channels(network(x, t: t, y: y, run), 0, channels)
    }
}
