public import DiffTensor

/// A class-conditional network that image samplers call again and again: from a noisy state, a time and a class to a prediction.
///
/// What the prediction is (noise, velocity, …) and what times mean belongs to the sampling, not to the network. One conformance per
/// family; immutable, any number of runs may use one at once.
public protocol Denoiser: AnyObject, Sendable {
    /// Sites by module path.
    var layout: SiteLayout { get }
    /// Channels of the state.
    var channels: Int { get }
    /// Side of the square state.
    var side: Int { get }
    /// Channels of the prediction: those of the state, or twice as many with a learned variance after them.
    var predictedChannels: Int { get }
    /// Rows of the class table, 0 for an unconditional network.
    var classRows: Int { get }
    /// The row of the class table that means "no class"; nil where there is none.
    var nullClass: Int? { get }

    /// The prediction [n, predictedChannels, side, side] for `x` [n, channels, side, side] at the times `t` [n]; `y` has one class per
    /// sample, none for an unconditional network.
    func callAsFunction(_ x: Tensor, t: Tensor, y: [Int], _ run: Run) throws(DiffError) -> Tensor
}

extension Denoiser {
    /// Attention and MLP sites in the order in which the network visits them: the columns of a router.
    public var sublayers: [Site] { layout.sites(.attention, .mlp) }
    /// Classes that samples can be asked of: the rows without the one that means "no class".
    public var classes: Int { nullClass == nil ? classRows : classRows &- 1 }
}

/// A denoiser that learning procedures work with: every op of it has a way back for gradients, and its blocks work on one stream.
public protocol TrainableDenoiser: Denoiser {
    /// Tokens of the stream that the blocks work on.
    var tokens: Int { get }
    /// Width of the stream.
    var width: Int { get }
    /// Hidden width of the blocks' MLPs.
    var mlpWidth: Int { get }
}

extension DiT: TrainableDenoiser {
    /// Tokens of the stream.
    public var tokens: Int { configuration.tokens }
    /// Width of the stream.
    public var width: Int { configuration.width }
    /// Hidden width of an MLP.
    public var mlpWidth: Int { configuration.mlpWidth }
}

extension UViT: TrainableDenoiser {
    /// Tokens of the stream.
    public var tokens: Int { configuration.tokens }
    /// Width of the stream.
    public var width: Int { configuration.width }
    /// Hidden width of an MLP.
    public var mlpWidth: Int { configuration.mlpWidth }
}

extension SiT: TrainableDenoiser {
    /// Tokens of the stream.
    public var tokens: Int { configuration.tokens }
    /// Width of the stream.
    public var width: Int { configuration.width }
    /// Hidden width of an MLP.
    public var mlpWidth: Int { configuration.mlpWidth }
}

extension DiT: Denoiser {
    /// Channels of the state.
    public var channels: Int { configuration.inChannels }
    /// Side of the square state.
    public var side: Int { configuration.inputSize }
    /// Channels of the prediction.
    public var predictedChannels: Int { configuration.outChannels }
    /// Rows of the class table.
    public var classRows: Int { configuration.classRows }
    /// The row that means "no class"; nil where there is none.
    public var nullClass: Int? { configuration.nullClass }
}

extension UViT: Denoiser {
    /// Channels of the state.
    public var channels: Int { configuration.inChannels }
    /// Side of the square state.
    public var side: Int { configuration.inputSize }
    /// Channels of the prediction.
    public var predictedChannels: Int { configuration.inChannels }
    /// Rows of the class table.
    public var classRows: Int { configuration.classRows }
    /// The row that means "no class"; nil where there is none.
    public var nullClass: Int? { configuration.nullClass }
}
