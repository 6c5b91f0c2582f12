import DiffAcceleration
import DiffTensor

/// How a family samples: it checks a request and makes a job of it. One conformance per way of sampling.
protocol FamilySampling: Sendable {
    /// The sites of the networks a run uses, the one that plans act on first.
    var layouts: [SiteLayout] { get }
    /// Bytes of weights that a session needs beside its model's own.
    var partnerBytes: Int { get }
    /// Sampling as a session under `plan` does it: with the networks that the plan adds. Throws `incompatible` when they do
    /// not fit, and what opening them throws.
    func under(_ plan: Plan, _ options: SessionOptions) throws(DiffError) -> any FamilySampling
    /// What requests may say.
    var form: RequestForm { get }
    /// Checks `request` against ``form`` and the model. Throws `invalidArgument`, `shape`, `incompatible` or `unsupported`.
    func job(_ request: SampleRequest) throws(DiffError) -> any SamplingJob
    /// A request for one sample in `steps` steps (nil: as many as requests have by default), for previews.
    func previewRequest(steps: Int?) -> SampleRequest
    /// Network calls of a step, of which a learned router has a row for each.
    var callsPerStep: Int { get }
    /// Floating-point operations of one network call for one sample.
    func flopsPerCall() throws(DiffError) -> Double
}

extension FamilySampling {
    /// No other weights.
    var partnerBytes: Int { 0 }
    /// One.
    var callsPerStep: Int { 1 }
    /// The same under every plan.
    func under(_ plan: Plan, _ options: SessionOptions) throws(DiffError) -> any FamilySampling { self }
}

/// A request that was checked: one run of it, real or dry.
protocol SamplingJob: Sendable {
    /// What methods are told before the run.
    var context: SamplingContext { get }
    /// The sampler's name in statistics.
    var sampler: String { get }
    /// What its steps are reported as.
    var stage: SampleEvent.Stage { get }
    /// A number for each network call in the order made: the original timestep, the side of a scale.
    var timesteps: [Double] { get }
    /// Shape of the start noise, and how often the sampler draws more; nil when the caller cannot give any.
    var noise: (state: Shape, draws: Int)? { get }
    /// Shape of the latents that a run ends with; nil when it makes something else.
    var latents: Shape? { get }
    /// What turns the latents into pixels, when they are to be and can be.
    var decoder: (any StateDecoder)? { get }
    /// How the decoder works.
    var tiling: Tiling { get }
    /// Whether the number of calls depends on what is computed, so that a dry run gives a bound.
    var mayEndSooner: Bool { get }
    /// Whether every step asks for the same memory: then it is reserved before the first one.
    var stepsAreAlike: Bool { get }
    /// Whether a run begins with encoders, whose memory is free again before the first step.
    var encodes: Bool { get }
    /// What each picture is made with, as files of pictures say it; empty where nothing is said.
    var parameters: [String] { get }
    /// Values of a second of sound; nil: it makes none.
    var sampleRate: Int? { get }
    /// Throws `notFinite` when tensors of the caller hold NaN or infinity.
    func requireFinite(_ run: Run) throws(DiffError)
    /// All network calls, each told to `observe`. What it gives may live in the run's workspace; in a dry run it has no values.
    func perform(_ run: Run, observe: (SamplingProgress) throws(DiffError) -> Void) throws(DiffError) -> SamplingOutput
}

extension SamplingJob {
    /// As the context says.
    var mayEndSooner: Bool { if case .atMost = context.calls { true } else { false } }
    /// By default every step requests the same memory.
    var stepsAreAlike: Bool { true }
    /// Nothing is encoded.
    var encodes: Bool { false }
    /// Nothing is said.
    var parameters: [String] { [] }
    /// No sound.
    var sampleRate: Int? { nil }
    /// Whole images, or tiles when the memory limit asks for them.
    var tiling: Tiling { .automatic }
}

/// What a job tells after each network call.
struct SamplingProgress {
    /// Call just made (0 is the first), and how many there are, or can be.
    let call: Int, calls: Int
    /// The call's number of ``SamplingJob/timesteps``.
    let timestep: Double
    /// Which of the session's networks ran.
    var network = 0
    /// State after the step, valid during the call.
    var state: Tensor?
    /// Pictures of what the state would become, when the request asks for them.
    var preview: ImageBatch?
    /// What a language model's pass revealed.
    var text: TextEvent?
    /// Bytes that the network keeps from one call to the next.
    var heldBytes = 0
    /// What was done, if not a network call: with `encode` all that comes before the first one.
    var stage: SampleEvent.Stage?
    /// Floating-point operations of that.
    var flops = 0.0
}

/// What a job makes.
struct SamplingOutput {
    /// What is decoded, and given as `latents`.
    var latents: Tensor?
    /// Further tensors of the result, in blocks of their own.
    var others: [ResultTensor] = []
}
