import DiffAcceleration
public import DiffCheckpoint
import DiffModels
public import DiffTensor
import DiffTraining
import Synchronization

/// Learns an acceleration, or weights, of a checkpoint: a Learning-to-Cache router, which blocks to keep, the weights of a network, or a
/// network's role in collaborative decoding.
///
/// The settings say what (see <doc:LearnFromData>). A trainer is used by one thread at a time; a second one gets `busy`, and only ``cancel()``
/// may be called at any time. Whatever ends a run, the trainer is left after the last whole step and can continue.
public final class Trainer: @unchecked Sendable {
    // Unchecked: the mutable parts are only touched between `busy` being taken and released.
    /// The checkpoint that is learned from.
    public let path: String
    /// Threads of the pool.
    public let threads: Int
    private let settings: TrainerSettings
    private let recipe: any TrainingRecipe
    private let budget: MemoryBudget
    private let cancelFlag: CancelFlag
    private let busy = Atomic<Bool>(false)

    /// A trainer of the checkpoint at `path` with `settings`.
    ///
    /// Throws `invalidArgument` and `format` for bad settings, naming the member, `shape` and `io` for data that do not fit,
    /// `incompatible` for a saved state of another training, `unsupported` for a family that has no such method, memory errors.
    public init(
        _ path: String, _ settings: JSON, _ model: ModelOptions = ModelOptions(),
        _ options: TrainerOptions = TrainerOptions()
    ) throws(DiffError) {
        guard options.memoryLimit >= 0, options.threads >= 0 else {
            throw DiffError(.invalidArgument, "threads and memory limit must not be negative")
        }
        let settings = try TrainerSettings(settings)
        let budget = try MemoryBudget(limit: options.memoryLimit)
        let cancel = CancelFlag()
        threads = options.threads == 0 ? Machine.processors : options.threads
        let resources = LearningResources(pool: try WorkerPool(threads: threads), budget: budget, cancel: cancel)
        let recipe = try TrainingRecipes.open(path, model, settings, resources)
        (self.path, self.settings, self.recipe, self.budget, cancelFlag) = (path, settings, recipe, budget, cancel)
        guard let state = settings.statePath, try !Directory.isAbsent(state) else { return }
        guard settings.resumes else {
            throw DiffError(
                .invalidArgument, "\(state): a state is there already; resume from it, or name another file")
        }
        try recipe.procedure.restore(LearningState(contentsOf: state))
    }

    /// `router`, `prune`, `finetune` or `specialise`.
    public var method: String { settings.method.rawValue }
    /// Steps made.
    public var step: Int { recipe.procedure.done }
    /// Steps of the whole training.
    public var steps: Int { recipe.procedure.steps }

    /// Makes `count` more steps, or all that are left; blocks until then. `observe` is called after each step on this thread.
    ///
    /// With a `state` in the settings, the state is written every `save_every` steps, at the end, and when the run is stopped. Throws
    /// `cancelled` when stopped by ``cancel()`` or `observe`, `notFinite` for data or losses that are, `io`, memory errors, `busy`.
    public func run(
        _ count: Int? = nil, observe: (TrainingEvent) -> SampleDecision = { _ in .continue }
    ) throws(DiffError) {
        try exclusively { () throws(DiffError) in
            cancelFlag.clear()
            let environment = Machine.seconds
            let procedure = recipe.procedure
            var left = min(count ?? Int.max, max(0, procedure.steps &- procedure.done))
            do throws(DiffError) {
                while left > 0 {
                    if cancelFlag.isSet { throw .cancelled }
                    let report = try procedure.step()
                    left &-= 1
                    if procedure.done.isMultiple(of: settings.saveEvery) || left == 0 { try autosave() }
                    let event = TrainingEvent(report, seconds: Machine.seconds - environment)
                    if observe(event) == .cancel, left > 0 { throw .cancelled }
                }
            } catch {
                // The reason to stop comes first; a state that cannot be written any more is the one before.
                if error.code == .cancelled { try? autosave() }
                throw error
            }
        }
    }

    private func autosave() throws(DiffError) {
        guard let path = settings.statePath else { return }
        try recipe.procedure.save().write(to: path)
    }

    /// Writes everything that the next steps depend on to `path`, atomically. Throws `io`, `busy`.
    public func save(to path: String) throws(DiffError) {
        try exclusively { () throws(DiffError) in try recipe.procedure.save().write(to: path) }
    }

    /// Resumes from the state at `path`. Throws `incompatible` when it was made with other settings, `format`, `io`, `busy`; the
    /// trainer is then as it was.
    public func restore(from path: String) throws(DiffError) {
        try exclusively { () throws(DiffError) in try recipe.procedure.restore(LearningState(contentsOf: path)) }
    }

    /// Stops the current run, if any; may be called from any thread.
    public func cancel() { cancelFlag.cancel() }

    /// Lets a second source of stop requests act on this trainer.
    public func followCancellation(_ source: CancelFlag.Source) { cancelFlag.follow(source) }

    // MARK: Results

    /// What was learned so far, measured on `batches` batches of the data without randomness: the same draws every time.
    ///
    /// Router: `error` and `removed`. Pruning: `loss` of the decided blocks and `loss_all_blocks`. Weights: `loss`; of a drafter `ce`
    /// too, of a refiner `ce` and `kl`. Throws as ``run(_:observe:)``, `invalidArgument` unless `batches` is 1...100000, `unsupported`
    /// without data.
    public func evaluate(batches: Int = 8) throws(DiffError) -> JSON {
        guard (1...100_000).contains(batches) else {
            throw DiffError(.invalidArgument, "batches must be 1...100000, found \(batches)")
        }
        return try exclusively { () throws(DiffError) in
            cancelFlag.clear()
            let measured = try recipe.procedure.evaluate(batches)
            for name in Array(measured.keys).each {
                guard case .number(let value)? = measured[name], !value.isFinite else { continue }
                throw DiffError(.notFinite, "the evaluation's \"\(name)\" is not finite (weights or data)")
            }
            return .object(measured)
        }
    }

    /// Where training stands and what was learned: `method`, `step`, `steps`, `bytes`, and the method's own members.
    public func describe() throws(DiffError) -> JSON {
        try exclusively { () throws(DiffError) in
            var members = recipe.procedure.summary
            members.put(.string(method), for: "method")
            members.put(.integer(step), for: "step")
            members.put(.integer(steps), for: "steps")
            members.put(
                .object([
                    "used": .integer(budget.used), "peak": .integer(budget.peak),
                    "workspace": .integer(recipe.procedure.workspaceBytes),
                ]), for: "bytes")
            return .object(members)
        }
    }

    /// What was learned as a plan: a router, or the blocks to keep. Throws `unsupported` for weights, `busy`.
    public func plan() throws(DiffError) -> Plan {
        try exclusively { () throws(DiffError) in try recipe.plan() }
    }

    /// Writes a checkpoint folder: the pruned network with its original weights, or the trained weights; with a VAR the VQ-VAE that it
    /// has in its folder. Throws `unsupported` for a router, `notFinite` when weights are, `io`, `busy`.
    public func export(checkpoint folder: String) throws(DiffError) {
        try exclusively { () throws(DiffError) in try recipe.export(to: folder) }
    }

    private func exclusively<T>(_ body: () throws(DiffError) -> T) throws(DiffError) -> T {
        guard busy.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else {
            throw DiffError(.busy, "the trainer is at work already")
        }
        defer { busy.store(false, ordering: .releasing) }
        return try body()
    }
}
