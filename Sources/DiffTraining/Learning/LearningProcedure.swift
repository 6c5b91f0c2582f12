public import DiffCheckpoint
public import DiffTensor

/// What a procedure works with: threads, memory, and a way to stop it.
public struct LearningResources: Sendable {
    /// Threads; nil: the calling thread alone.
    public let pool: WorkerPool?
    /// Charged with everything the procedure holds.
    public let budget: MemoryBudget?
    /// Asked between modules.
    public let cancel: CancelFlag
    /// Not nil: nothing is computed and no memory is taken, as if on this many threads, to learn what would be needed.
    public let dryThreads: Int?

    /// Resources of a real run.
    public init(pool: WorkerPool?, budget: MemoryBudget?, cancel: CancelFlag = CancelFlag()) {
        (self.pool, self.budget, self.cancel, dryThreads) = (pool, budget, cancel, nil)
    }

    /// Resources of a dry run on `threads` threads.
    public init(dryOn threads: Int) {
        (pool, budget, cancel, dryThreads) = (nil, nil, CancelFlag(), threads)
    }

    /// Whether there is no memory behind tensors.
    var isVirtual: Bool { dryThreads != nil }

    /// A run of a network with one layout under `stack`, begun for batches of `rows` samples.
    func run(_ stack: AccelerationStack, _ layout: SiteLayout, rows: Int) throws(DiffError) -> Run {
        let run: Run
        if let dryThreads {
            run = Run(dryOn: dryThreads, stack: stack)
        } else {
            run = Run(pool: pool, budget: budget, stack: stack, cancel: cancel)
        }
        try run.begin(SamplingContext(layouts: [layout], calls: 1, rows: rows))
        return run
    }

    /// A tensor outside of any workspace, filled with zeros.
    func tensor(_ shape: Shape) throws(DiffError) -> Tensor {
        let bytes = shape.count &* 4
        let block = isVirtual ? Storage(virtual: bytes) : try Storage(byteCount: bytes, budget: budget)
        let tensor = try Tensor(block, shape)
        if let base = unsafe tensor.floats { unsafe base.update(repeating: 0, count: max(0, shape.count)) }
        return tensor
    }
}

/// A way of learning, one step after another: a router, gates, weights.
///
/// A step depends on the state before it and its number only, so a resumed run is bit-identical to one that never stopped. A step
/// that throws leaves the state as it was before. Used by one thread at a time.
public protocol LearningProcedure: AnyObject {
    /// Steps that a whole run has.
    var steps: Int { get }
    /// Steps made.
    var done: Int { get }
    /// Makes the next step. Throws `notFinite` when the data hold NaN or losses stay infinite, `cancelled`, `io`, memory errors.
    func step() throws(DiffError) -> LearningReport
    /// What was learned so far, measured on `batches` batches without chance: the same draws whenever it is asked, and no random
    /// choices of gates. Throws as ``step()``, `unsupported` without data.
    func evaluate(_ batches: Int) throws(DiffError) -> [String: JSON]
    /// Everything that the next steps depend on.
    func save() throws(DiffError) -> LearningState
    /// Resumes from a saved state. Throws `incompatible` or `format` when it is not one of this procedure.
    func restore(_ state: LearningState) throws(DiffError)
    /// What was learned so far, for people and programs: decision, confidences, averages.
    var summary: [String: JSON] { get }
    /// Bytes of the workspace at its peak.
    var workspaceBytes: Int { get }
    /// Bytes held beside parameters, what an optimiser keeps for them, and the workspace: data as they are stored, a trajectory.
    var heldBytes: Int { get }
}

/// What a step of learning showed.
public struct LearningReport: Sendable, Equatable {
    /// Number of the step just made, from 1, and how many there will be.
    public var step: Int, steps: Int
    /// The step's loss, all terms together.
    public var loss: Double
    /// Norm of the gradient of everything that learns, before clipping.
    public var gradientNorm: Double
    /// Learning rate of the step.
    public var learningRate: Double
    /// How sure each decision is, 0...1: of each group of gates, or, for a router, of each sub-layer of the row just trained (its score).
    public var confidences: [Float] = []
    /// Terms of the loss and other figures of the procedure, in a fixed order.
    public var terms: [Term] = []

    /// A figure with its name, such as `mse`.
    public struct Term: Sendable, Equatable {
        /// Name in logs.
        public var name: String
        /// Value.
        public var value: Double
    }
}

/// Losses that are not numbers: such a step changes no weights, and a long row of them ends the run. So does the very first one: what
/// nothing was learned by yet has broken weights, or data.
struct LossGuard: Sendable {
    private static let patience = 50
    private(set) var skipped = 0
    private var hasAdmitted = false

    /// Whether the step may be made. Throws `notFinite` instead of a first refusal before any step, and after 50 refusals in a row.
    mutating func admits(_ loss: Double, gradientNorm: Double) throws(DiffError) -> Bool {
        if loss.isFinite, gradientNorm.isFinite {
            (skipped, hasAdmitted) = (0, true)
            return true
        }
        guard hasAdmitted else {
            throw DiffError(.notFinite, "the first loss or its gradient is not finite (weights or data)")
        }
        skipped &+= 1
        guard skipped < Self.patience else {
            throw DiffError(.notFinite, "the loss or its gradient was not finite in \(Self.patience) steps in a row")
        }
        return false
    }
}
