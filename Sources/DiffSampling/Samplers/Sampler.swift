public import DiffTensor

/// One evaluation of the network that a sampler asks for.
public struct SamplerCall: Sendable, Equatable {
    /// What the network is told: the training timestep of discrete processes (whole, or between two), else the time.
    public let timestep: Double
    /// Sampling step (0 is the noisiest) and evaluation inside the step.
    public let step: Int, stage: Int
    /// What the state is multiplied by before the network sees it.
    public let inputScale: Double

    /// An evaluation at `timestep`.
    public init(timestep: Double, step: Int, stage: Int = 0, inputScale: Double = 1) {
        (self.timestep, self.step, self.stage, self.inputScale) = (timestep, step, stage, inputScale)
    }
}

/// What a sampler makes of a prediction.
public struct SamplerStep: Sendable {
    /// What the next evaluation starts from, or the result; of the state's shape.
    public let state: Tensor
    /// The clean image that this prediction means, of the same shape; nil where the sampler has no use for it.
    public let predictedClean: Tensor?

    /// A state, and the image it heads for.
    public init(_ state: Tensor, predictedClean: Tensor? = nil) {
        (self.state, self.predictedClean) = (state, predictedClean)
    }
}

/// Noise for a step: standard normal values of the state's shape, new ones at each call.
public typealias NoiseDraw = () throws(DiffError) -> Tensor

/// A sampler ("scheduler"): the mathematics between two evaluations of a network. It knows neither networks nor methods.
///
/// A sampler is a value that holds the history of one run; whoever starts a run takes a copy. Nothing is allocated between
/// evaluations but tensors of the run's workspace. Scalars are computed in double precision and rounded once.
public protocol Sampler: Sendable {
    /// The name in requests and statistics.
    var name: String { get }
    /// Number of sampling steps.
    var steps: Int { get }
    /// Number of evaluations: more than steps where a step looks more than once.
    var calls: CallCount { get }
    /// Evaluations of a step, the last one's apart.
    var evaluationsPerStep: Int { get }
    /// Timesteps of all evaluations in order, as far as they are known before the run.
    var timesteps: [Double] { get }
    /// Standard deviations of the noise, the final one included, of samplers that work on them; else empty.
    var sigmas: [Double] { get }
    /// What standard normal noise is multiplied by to be the state before the first step.
    var initialNoiseScale: Double { get }
    /// The most noise tensors that a run draws after the first one.
    var draws: Int { get }
    /// Whether predictions must bring a learned variance, [n, 2C, h, w].
    var needsVariance: Bool { get }

    /// The evaluation to make next; nil at the end.
    var call: SamplerCall? { get }

    /// The first step of a run that changes a picture with this `strength`, 0 … 1; ``steps`` when there is none.
    func firstStep(strength: Double) -> Int

    /// Continues from evaluation number `call` of a fresh run, as image-to-image does: with what ``noised(_:_:_:)`` gives.
    mutating func start(at call: Int)

    /// The state before the next evaluation whose clean image is `clean`: `clean` and standard normal `noise`, mixed.
    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor

    /// The state that the next evaluation is made at: `x` itself, or with the noise of a step that begins with it.
    mutating func prepared(_ x: Tensor, _ run: Run, draw: NoiseDraw) throws(DiffError) -> Tensor

    /// What follows from the network's `output` [n, C or 2C, h, w] for the state `x` [n, C, h, w]; moves to the next evaluation.
    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep
}

extension Sampler {
    /// The state as it is.
    public mutating func prepared(_ x: Tensor, _ run: Run, draw: NoiseDraw) throws(DiffError) -> Tensor { x }
    /// No learned variance.
    public var needsVariance: Bool { false }
    /// One.
    public var evaluationsPerStep: Int { 1 }
    /// The sampler works on ᾱ.
    public var sigmas: [Double] { [] }
    /// Standard normal noise.
    public var initialNoiseScale: Double { 1 }
    /// None.
    public var draws: Int { 0 }
    /// The last ⌊steps · strength⌋ steps are made.
    public func firstStep(strength: Double) -> Int {
        steps &- min(Checked.integer((Double(steps) * strength).rounded(.down)) ?? steps, steps)
    }
}

/// A sampler whose timesteps, as many as ever, begin later on a picture that is changed with less than all strength.
public protocol StrengthSpacedSampler: Sampler {
    /// The sampler for a run that changes a picture with this `strength`, 0 … 1. Throws `invalidArgument` when there are too few timesteps
    /// for the steps.
    func spaced(strength: Double) throws(DiffError) -> any Sampler
}

extension Sampler {
    /// The error for an evaluation that does not exist.
    var exhausted: DiffError { DiffError(.internal, "the sampler \(name) has no step after its last one") }
}
