import CKernels

/// One forward's context: threads, memory, methods, cancellation and bookkeeping. Models and samplers see the machine
/// only through it; every op is a method of it (see `Ops`).
///
/// Used by one thread at a time. A *dry* run has the same shapes, memory requests, method decisions and operation counts
/// as a real one but touches no element: estimates are made this way.
public final class Run {
    /// Where ops take their results from.
    public let workspace: Workspace
    /// Asked at every site.
    public let cancel: CancelFlag
    /// Whether kernels are left out.
    public let isDry: Bool
    /// Threads that ops are split over.
    public let threads: Int
    /// The call being evaluated.
    public private(set) var call = Call(time: 0, index: 0, count: 1, step: 0)
    /// What happened so far.
    public private(set) var trace: Trace
    /// Where ops leave what the backward pass needs; nil: nothing is learned.
    public private(set) var tape: Tape?

    /// What attention multiplies in; linear layers and convolutions are as their weights were loaded.
    public let precision: Precision

    /// The processes that share the calls of the run; nil: it has one.
    public private(set) var ranks: RankShare?

    /// Where a dry run notes its convolutions; nil: nowhere.
    let census: ConvolutionCensus?
    let pool: WorkerPool?
    let stack: AccelerationStack
    /// The session's number of each network's first site, and that of the network at work.
    private(set) var bases: [Int] = []
    private var base = 0
    private var allBlocks = BlockPlan(indices: [])
    private var plan = BlockPlan(indices: [])

    /// A run on `pool` (nil: the calling thread alone) with memory charged to `budget`.
    public convenience init(
        pool: WorkerPool?, budget: MemoryBudget?, stack: AccelerationStack = AccelerationStack(),
        cancel: CancelFlag = CancelFlag(), precision: Precision = .f32
    ) {
        self.init(
            pool: pool, workspace: Workspace(budget: budget), stack: stack, cancel: cancel, precision: precision)
    }

    /// A run on `pool` whose tensors come from `workspace`, which no other run uses meanwhile.
    public init(
        pool: WorkerPool?, workspace: Workspace, stack: AccelerationStack = AccelerationStack(),
        cancel: CancelFlag = CancelFlag(), precision: Precision = .f32
    ) {
        (self.pool, self.precision) = (pool, precision)
        self.stack = stack
        self.cancel = cancel
        census = nil
        isDry = false
        threads = pool?.threads ?? 1
        self.workspace = workspace
        trace = Trace(calls: 1, sites: 0)
    }

    /// A dry run as if on `threads` threads, which notes its convolutions in `census`.
    public init(
        dryOn threads: Int, stack: AccelerationStack = AccelerationStack(), census: ConvolutionCensus? = nil
    ) {
        (pool, precision) = (nil, .f32)  // memory is the same in all
        self.census = census
        self.stack = stack
        cancel = CancelFlag()
        isDry = true
        self.threads = threads
        workspace = Workspace(budget: nil, isVirtual: true)
        trace = Trace(calls: 1, sites: 0)
    }

    /// A run on the same threads and the same memory, without methods and with statistics of its own: for work beside this one.
    public func withoutAcceleration() -> Run { Run(beside: self) }

    private init(beside other: Run) {
        (pool, stack, cancel, isDry) = (other.pool, AccelerationStack(), other.cancel, other.isDry)
        (threads, workspace, census, precision) = (other.threads, other.workspace, other.census, other.precision)
        trace = Trace(calls: 1, sites: 0)
    }

    /// A fork of `other` on threads and memory of its own: see ``fork(_:)``.
    init(forking other: Run, pool: WorkerPool?, threads: Int, workspace: Workspace, cancel: CancelFlag) {
        (self.pool, self.threads, self.workspace, self.cancel) = (pool, threads, workspace, cancel)
        (stack, isDry, call) = (other.stack, other.isDry, other.call)
        // Forks of a dry run work one after the other.
        (census, precision) = (other.census, other.precision)
        (bases, base) = (other.bases, other.base)
        trace = Trace(calls: 1, sites: other.trace.sites)
    }

    /// A run over the same networks with other methods and statistics of its own; a dry one has memory of its own, which is none.
    init(measuring other: Run, stack: AccelerationStack, isDry: Bool) {
        (pool, self.stack, cancel, self.isDry) = (isDry ? nil : other.pool, stack, other.cancel, isDry)
        (threads, workspace) = (other.threads, isDry ? Workspace(budget: nil, isVirtual: true) : other.workspace)
        (bases, base, census, precision) = (other.bases, other.base, nil, other.precision)
        trace = Trace(calls: 1, sites: other.trace.sites)
    }

    var isLive: Bool { !isDry }
    var poolHandle: OpaquePointer? { unsafe pool?.pool }

    /// Starts a run of several calls: methods check it and forget earlier state, the trace is made.
    public func begin(_ context: SamplingContext) throws(DiffError) {
        (bases, base, ranks) = (context.networkBases, 0, context.ranks)
        trace = Trace(calls: context.calls.limit, sites: context.siteCount)
        try stack.begin(context)
    }

    /// Ends a run: methods are not asked any more, what they keep goes back to the workspace, the trace is closed.
    public func end() {
        ranks = nil
        stack.end()
        trace.close()
    }

    /// Calls `body` with `ranks` sharing its work, after the calls of a run: see `pieces(_:of:make:use:)`.
    public func shared<T>(by ranks: RankShare?, _ body: () throws(DiffError) -> T) throws(DiffError) -> T {
        self.ranks = ranks
        defer { self.ranks = nil }
        return try body()
    }

    /// Bytes of tensors that methods keep between calls.
    public var bytesHeld: Int { stack.bytesHeld }

    /// How methods divide the work of a call, if one does.
    public var components: [NetworkComponent] { stack.components }

    /// Whether a method may answer with what it kept of an earlier call: then no part of a call can be left out.
    public var mayKeepOutputs: Bool { stack.mayKeepOutputs }

    /// Which of the session's networks the methods choose for `call`, asked before a run to make room, and by the sampler.
    public func network(for call: Call) -> Int { stack.network(call) }

    /// The network call `call`, as the methods see fit; `network` evaluates the network once.
    public func evaluate(_ call: Call, _ network: @escaping Evaluate) throws(DiffError) -> Tensor {
        trace.start(call)
        return try stack.evaluate(call, self) { (call, run) throws(DiffError) in
            run.enter(call)
            return try network(call, run)
        }
    }

    /// The network call `call` of a network that remembers earlier calls: it is made once, and no method can repeat it.
    public func advance<T>(_ call: Call, _ network: (Call, Run) throws(DiffError) -> T) throws(DiffError) -> T {
        trace.start(call)
        enter(call)
        return try network(call, self)
    }

    private func enter(_ call: Call) {
        self.call = call
        base = bases.at(call.network) ?? 0
    }

    /// Question 1, asked by the loop over a block list: its blocks that run in the current call, in order.
    public func blocks(_ list: BlockList) -> [Int] {
        if allBlocks.indices.count != list.count { allBlocks = BlockPlan(indices: Array(Indices(below: list.count))) }
        plan = allBlocks
        stack.blocks(call, list, &plan)
        return plan.indices
    }

    /// Question 2, asked at every module: its output, computed or not. Also where a request to stop is seen.
    public func at(_ site: Site, _ input: Tensor, _ compute: () throws(DiffError) -> Tensor) throws(DiffError) -> Tensor
    {
        if cancel.isSet { throw .cancelled }
        let site = site.moved(by: base)
        guard stack.wantsModule(site) else {
            trace.mark(site, .computed)
            return try compute()
        }
        return try asked(site, Slots(input)) { () throws(DiffError) in Slots(try compute()) }.first
    }

    /// The same for a module of several inputs or outputs.
    public func at(_ site: Site, _ inputs: Slots, _ compute: Compute) throws(DiffError) -> Slots {
        if cancel.isSet { throw .cancelled }
        let site = site.moved(by: base)
        guard stack.wantsModule(site) else {
            trace.mark(site, .computed)
            return try compute()
        }
        return try asked(site, inputs, compute)
    }

    /// Whether a method is asked at `site`: else what goes in and out there need not exist by itself.
    public func isAsked(_ site: Site) -> Bool { stack.wantsModule(site.moved(by: base)) }

    private func asked(_ site: Site, _ inputs: Slots, _ compute: Compute) throws(DiffError) -> Slots {
        var computed = false
        let outputs = try stack.module(site, inputs, self) { () throws(DiffError) in
            computed = true
            return try compute()
        }
        trace.mark(site, computed ? .computed : .reused)
        return outputs
    }

    /// Question 3, asked by attention: scaled dot-product attention with whatever the methods let each query see.
    public func attention(_ call: AttentionCall) throws(DiffError) -> Tensor {
        let site = call.site.moved(by: base)
        guard stack.wantsAttention(site) else { return try attend(call) }
        return try attention(call, asking: site)
    }

    @inline(never)
    private func attention(_ call: AttentionCall, asking site: Site) throws(DiffError) -> Tensor {
        var call = call
        call.site = site
        try stack.attend(&call, self)
        return try attend(call)
    }

    /// The methods that answer further questions, those of protocol `type`, in order. Constant from ``begin(_:)`` to ``end()``.
    public func methods<Question>(_ type: Question.Type) -> [Question] { stack.methods(type) }

    /// Runs `body` with ops leaving their records on `tape`, which is empty afterwards: the backward pass belongs into `body`.
    public func recording<T>(_ tape: Tape, _ body: () throws(DiffError) -> T) throws(DiffError) -> T {
        let outer = self.tape
        self.tape = tape
        defer {
            // Records refer to the run: what a failed pass left behind must go.
            tape.clear()
            self.tape = outer
        }
        return try body()
    }

    /// Runs `body` for each of `count` turns that ask for the same memory and do the same work. A dry run makes the first one and counts its
    /// operations as often as there are turns.
    public func alike(_ count: Int, _ body: (Int) throws(DiffError) -> Void) throws(DiffError) {
        guard isDry, count > 1 else {
            for turn in Indices(below: count) { try body(turn) }
            return
        }
        let before = trace.currentFlops
        try body(0)
        trace.count(flops: (trace.currentFlops - before) * Double(count &- 1))
    }

    /// Throws `cancelled` when a stop was asked for: for long work outside sites.
    public func checkCancel() throws(DiffError) {
        if cancel.isSet { throw .cancelled }
    }

    func count(flops: Double) { trace.count(flops: flops) }

    /// Takes over what a fork did on its part of the current call, and lets the fork forget it.
    func merge(_ fork: Run) {
        trace.merge(fork.trace)
        fork.trace.clear()
    }

    /// Begins the entry of `call`, which forks of the run will evaluate.
    func open(_ call: Call) { trace.start(call) }

    /// Scratch memory for a kernel; nil when it needs none.
    func scratch(_ bytes: Int) throws(DiffError) -> Storage? {
        bytes == 0 ? nil : try workspace.block(bytes)
    }
}
