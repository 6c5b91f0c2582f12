/// A module's own work, as the model wrote it: its outputs by slot. Called at most once.
public typealias Compute = () throws(DiffError) -> Slots
/// The network as the sampler means it. Called any number of times, also by several forks of a run at once.
public typealias Evaluate = @Sendable (Call, Run) throws(DiffError) -> Tensor

/// A method of acceleration at work in one session: the answers to five questions that models and samplers ask.
///
/// | question | asked by | requirement |
/// | --- | --- | --- |
/// | which blocks run? | the model's block loop, once per call | ``blocks(_:_:_:)`` |
/// | this module's output: compute, reuse or blend? | every module site | ``module(_:_:_:_:)`` |
/// | which queries see which keys and values? | attention, before it is computed | ``attend(_:_:)`` |
/// | which network runs now? | the sampler, for every call ahead of the run | ``network(_:)`` |
/// | how often, at what time? | the sampler, around a call | ``evaluate(_:_:_:)`` |
///
/// A sampler with a question of its own declares it in a protocol that refines this one (masked decoding: which positions are
/// computed), and asks the methods that conform to it through ``Run/methods(_:)``.
///
/// Every requirement but ``begin(_:)`` has the neutral answer as its default. Sites are the session's (``SamplingContext/site(_:of:)``).
/// State belongs to the instance, is made by `begin` and is used by one thread, unless the method itself evaluates on forks of the run
/// (``Run/fork(_:)``) or says that it separates lanes (``HookSet/separatesLanes``): then it must not change what the others read. A kept
/// tensor stays intact: contents of a tensor are never written twice.
public protocol Acceleration: AnyObject {
    /// Prepares for a run: checks that the method fits it, forgets earlier state, builds tables. Throws `incompatible`
    /// or `unsupported` with the reason; never fails later for a reason known here.
    func begin(_ context: SamplingContext) throws(DiffError) -> HookSet
    /// Question 1. `plan` holds all blocks of `list`, or what earlier methods left.
    func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan)
    /// Question 2. `inputs` is what the module works on. Not calling `compute` means reuse.
    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots
    /// Question 3. Rewrites who sees whom; the attention op computes the result.
    func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError)
    /// Question 4. Depends on nothing but the call: samplers ask ahead, so that networks have room for what they will do and
    /// give it back after their last call.
    func network(_ call: Call) -> Int
    /// Question 5. `next` is the evaluation inside: other methods, then the network. A method that evaluates more than once
    /// numbers the passes in ``Call/pass``.
    func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor
    /// Drops kept tensors, so that their memory can serve something else.
    func release()
    /// Bytes of tensors kept from one call to the next.
    var bytesHeld: Int { get }
    /// The parts into which the method divides the work of a call, once it has.
    var components: [NetworkComponent] { get }
}

extension Acceleration {
    /// Leaves all blocks.
    public func blocks(_ call: Call, _ list: BlockList, _ plan: inout BlockPlan) {}
    /// Computes.
    public func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots { try compute() }
    /// Leaves the attention as the model asked for it.
    public func attend(_ call: inout AttentionCall, _ run: Run) throws(DiffError) {}
    /// The network that the sampler names.
    public func network(_ call: Call) -> Int { call.network }
    /// Evaluates once.
    public func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
        try next(call, run)
    }
    /// Nothing is kept.
    public func release() {}
    /// Nothing is kept.
    public var bytesHeld: Int { 0 }
    /// Nothing is divided.
    public var components: [NetworkComponent] { [] }
}
