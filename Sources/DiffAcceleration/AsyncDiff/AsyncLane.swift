import DiffTensor
import Synchronization

/// What asynchronous denoising knows of one lane: what each module gave in the call before.
///
/// An object of its own, since lanes may be evaluated at once.
class AsyncLane {
    let plan: AsyncPlan
    let division: AsyncDivision
    /// The components as surfaces tell them.
    let report: [NetworkComponent]
    /// What each module gave; nil where nobody asks.
    final var kept: [Slots?]
    /// Zeros in the place of outputs that nobody looks at.
    private let blank: Tensor

    /// Starts with nothing kept.
    init(
        _ plan: AsyncPlan, _ division: AsyncDivision, _ report: [NetworkComponent], _ run: Run
    ) throws(DiffError) {
        (self.plan, self.division, self.report) = (plan, division, report)
        kept = Array(repeating: nil, count: division.modules.count)
        blank = try run.filled(division.largest, with: 0)
    }

    /// The output of the module at `position` in the evaluation that `run` is in.
    func module(_ position: Int, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots { try compute() }

    /// The prediction of `call`, whose time and those around it are in `times`.
    func evaluate(
        _ call: Call, _ times: AsyncTimes, _ run: Run, _ next: Evaluate
    ) throws(DiffError) -> Tensor { try next(call, run) }

    /// What is kept of the module at `position`; of one that nobody asks for something of the same shape.
    final func answer(_ position: Int) throws(DiffError) -> Slots {
        if let output = kept.at(position) ?? nil { return output }
        let shapes = division.modules.at(position)?.outputs ?? []
        guard let first = shapes.first else { throw DiffError(.internal, "a module without outputs") }
        var slots = Slots(try Tensor(blank.storage, first))
        for (slot, shape) in shapes.numbered where slot > 0 { slots.others.append(try Tensor(blank.storage, shape)) }
        return slots
    }

    /// The last module, whose output the prediction is made of.
    final var last: Int { division.modules.count &- 1 }

    /// Bytes of what is kept.
    final var bytesHeld: Int {
        kept.each.reduce(blank.storage.byteCount) { Checked.sum($0, $1?.heldBytes ?? 0) }
    }
}

/// All components in this process: one after the other, or side by side on forks of the run.
final class AsyncWhole: AsyncLane {
    /// Outputs that one evaluation makes. During a call only these are written, each by one evaluation.
    private final class Part {
        var outputs: [(position: Int, output: Slots)] = []
    }

    /// By component; the last one is of the extra evaluation.
    private let parts: [Part]
    private var forks: RunForks?

    override init(
        _ plan: AsyncPlan, _ division: AsyncDivision, _ report: [NetworkComponent], _ run: Run
    ) throws(DiffError) {
        parts = Indices(below: division.count &+ 1).map { _ in Part() }
        try super.init(plan, division, report, run)
    }

    override func module(_ position: Int, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        let (pass, component) = (AsyncPass(run.call.pass), division.components.at(position) ?? 0)
        let isKept = division.isKept.at(position) ?? true
        if pass == .whole {
            let output = try compute()
            if isKept, run.call.index &+ 1 == plan.warmUp { kept.put(output, at: position) }
            return output
        }
        guard pass.computes(component, of: division.count) else { return try answer(position) }
        let output = try compute()
        let part = if case .component(let active) = pass { parts.at(active) } else { parts.last }
        if isKept { part?.outputs.append((position, output)) }
        return output
    }

    override func evaluate(
        _ call: Call, _ times: AsyncTimes, _ run: Run, _ next: Evaluate
    ) throws(DiffError) -> Tensor {
        let index = call.index
        guard index >= plan.warmUp else { return try next(call, run) }
        if plan.stride == 1 {
            var passes: [Call] = []
            // What other components would give after the last call serves nothing.
            for part in Indices(below: plan.components) where part == plan.components &- 1 || !times.isLast(index) {
                passes.append(times.pass(.component(part), index, call))
            }
            return try evaluate(passes, run, next)
        }
        // Nothing is computed: the second prediction of the pair.
        guard index % 2 == 1 else { return try next(times.pass(.replay, index, call), run) }
        var passes = [times.pass(.extra, index, call)]
        let readsLast = plan.variant == .paper || division.lastIsRead
        for part in Indices(below: times.isLast(index) ? 0 : plan.components)
        where readsLast || part < plan.components &- 1 {
            passes.append(times.pass(.component(part), index &+ 1, call))
        }
        return try evaluate(passes, run, next)
    }

    /// Makes the evaluations `passes`, and gives what the one makes that computes the last component: the extra one, if there is one.
    /// All read what is kept now; when all are done, what they made takes its place.
    private func evaluate(_ passes: [Call], _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
        for part in parts.each { part.outputs = [] }
        var outputs: [Tensor] = []
        switch plan.executor {
        case .sequential, .mpi: for call in passes.each { outputs.append(try next(call, run)) }
        case .threads: outputs = try sideBySide(passes, run, next)
        }
        for (number, part) in parts.numbered {
            // Of the extra evaluation nothing is kept but, as the released code has it, the prediction.
            let isExtra = number == parts.count &- 1
            for (position, output) in part.outputs.each
            where !isExtra || plan.variant == .released && position == last { kept.put(output, at: position) }
        }
        // Nothing else may keep the blocks from being used again.
        for part in parts.each { part.outputs = [] }
        guard let prediction = plan.stride == 2 ? outputs.first : outputs.last else {
            throw DiffError(.internal, "no component was evaluated")
        }
        return prediction
    }

    /// Each evaluation on a fork of its own, of as many as there ever are.
    private func sideBySide(_ passes: [Call], _ run: Run, _ next: Evaluate) throws(DiffError) -> [Tensor] {
        let forks = if let made = self.forks { made } else { try run.fork(passes.count) }
        self.forks = forks
        let outputs = Mutex([Tensor?](repeating: nil, count: passes.count))
        try forks.perform { (number: Int, run: Run) throws(DiffError) -> Void in
            guard let call = passes.at(number) else { return }
            let output = try next(call, run)
            outputs.withLock { $0.put(output, at: number) }
        }
        return outputs.withLock { $0.each.compactMap { $0 } }
    }
}
