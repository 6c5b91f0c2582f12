/// A module's own work, as the model wrote it. Called at most once.
public typealias Compute = () throws(DiffError) -> Tensor
/// The network as the sampler means it. Called any number of times.
public typealias Evaluate = (Call, Run) throws(DiffError) -> Tensor

/// Where a method wants to be asked. Everything it does not name costs nothing; an empty interest is the baseline.
public struct Interest: Sendable, Equatable {
    /// Sites where `module` is asked.
    public var modules = SiteSet()
    /// Attention sites where `attend` is asked.
    public var attention = SiteSet()
    /// Whether `blocks` is asked.
    public var blocks = false
    /// Whether `evaluate` is asked.
    public var evaluations = false
    /// Whether `network` is asked.
    public var networks = false
    /// Whether `feed` is asked.
    public var feeding = false
    /// Whether masked decoding must decide the order of a block when it begins: `feed` is then told what a step will reveal.
    public var fixedOrder = false

    /// No interest: the baseline.
    public init() {}

    /// Whether the method asks for nothing: it is then left out of the run, which makes neutral settings equal the
    /// baseline bit for bit by construction.
    public var isEmpty: Bool {
        modules.isEmpty && attention.isEmpty && !blocks && !evaluations && !networks && !feeding
    }
}

/// A method of acceleration at work in one session: the answers to five questions that models and samplers ask.
///
/// | question | asked by | requirement |
/// | --- | --- | --- |
/// | which blocks run? | the model's block loop, once per call | ``blocks(_:_:)`` |
/// | this module's output: compute, reuse or blend? | every module site | ``module(_:_:_:_:)`` |
/// | which queries see which keys and values? | attention, before it is computed | ``attend(_:_:)`` |
/// | which positions are fed at all? | masked decoding, before a call | ``feed(_:_:)`` |
/// | which network runs now? | the sampler, for every call ahead of the run | ``network(_:)`` |
/// | how often, at what time? | the sampler, around a call | ``evaluate(_:_:_:)`` |
///
/// Every requirement but ``begin(_:)`` has the neutral answer as its default. State belongs to the instance, is made by
/// `begin` and is used by one thread. A kept tensor stays intact: contents of a tensor are never written twice.
public protocol Acceleration: AnyObject {
    /// Prepares for a run: checks that the method fits it, forgets earlier state, builds tables. Throws `incompatible`
    /// or `unsupported` with the reason; never fails later for a reason known here.
    func begin(_ opening: Opening) throws(DiffError) -> Interest
    /// Question 1. `plan` holds all blocks, or what earlier methods left.
    func blocks(_ call: Call, _ plan: inout BlockPlan)
    /// Question 2. `input` is what the module works on. Not calling `compute` means reuse.
    func module(_ site: Site, _ input: Tensor, _ run: Run, _ compute: Compute) throws(DiffError) -> Tensor
    /// Question 3. Rewrites who sees whom; the attention op computes the result.
    func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError)
    /// Question 3, before the call: which places of a sample's canvas are fed. `fed` has one entry per place and holds all, or
    /// what earlier methods left; asked once per sample and pass, in order.
    func feed(_ round: UnmaskingRound, _ fed: inout [Bool]) throws(DiffError)
    /// Question 4. Depends on nothing but the call: samplers ask ahead, so that networks have room for what they will do and
    /// give it back after their last call.
    func network(_ call: Call) -> Int
    /// Question 5. `next` is the evaluation inside: other methods, then the network.
    func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor
    /// Drops kept tensors, so that their memory can serve something else.
    func release()
    /// Bytes of tensors kept from one call to the next.
    var bytesHeld: Int { get }
}

extension Acceleration {
    /// Leaves all blocks.
    public func blocks(_ call: Call, _ plan: inout BlockPlan) {}
    /// Computes.
    public func module(
        _ site: Site, _ input: Tensor, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Tensor { try compute() }
    /// Leaves the attention as the model asked for it.
    public func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError) {}
    /// The network that the sampler names.
    public func network(_ call: Call) -> Int { call.network }
    /// Feeds all.
    public func feed(_ round: UnmaskingRound, _ fed: inout [Bool]) throws(DiffError) {}
    /// Evaluates once.
    public func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
        try next(call, run)
    }
    /// Nothing is kept.
    public func release() {}
    /// Nothing is kept.
    public var bytesHeld: Int { 0 }
}
