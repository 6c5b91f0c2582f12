import DiffTensor
import Synchronization

/// Which modules an evaluation computes.
enum AsyncPass: Equatable {
    /// All: a whole evaluation.
    case whole
    /// Those of one component; they take the place of what is kept of it.
    case component(Int)
    /// Those of the last component once more, at a time of its own; nothing of it is kept.
    case extra
    /// None.
    case replay

    /// As calls carry it.
    var number: Int {
        switch self {
        case .whole: 0
        case .replay: 1
        case .extra: 2
        case .component(let component): 3 &+ component
        }
    }

    /// Whether the modules of `component`, one of `count`, are computed.
    func computes(_ component: Int, of count: Int) -> Bool {
        switch self {
        case .whole: true
        case .component(let active): active == component
        case .extra: component == count &- 1
        case .replay: false
        }
    }

    init(_ number: Int) {
        switch number {
        case 0: self = .whole
        case 1: self = .replay
        case 2: self = .extra
        default: self = .component(number &- 3)
        }
    }
}

/// What asynchronous denoising knows of one lane: what each module gave in the call before, and who evaluates the components.
///
/// An object of its own, since lanes may be evaluated at once. During a call only the parts are written, each by one evaluation.
final class AsyncLane {
    /// Outputs that one evaluation makes, by position of the module.
    private final class Part {
        var outputs: [(position: Int, output: Slots)] = []
    }

    private(set) var division: AsyncDivision?
    /// The components as surfaces tell them.
    private(set) var report: [NetworkComponent] = []
    /// What each module gave; nil where nobody asks.
    private var kept: [Slots?] = []
    /// By component; the last one is of the extra evaluation.
    private var parts: [Part] = []
    /// Zeros in the place of outputs that nobody looks at.
    private var blank: Tensor?
    private var forks: RunForks?

    /// Starts with nothing kept.
    func begin(_ division: AsyncDivision, _ report: [NetworkComponent], _ run: Run) throws(DiffError) {
        (self.division, self.report) = (division, report)
        kept = Array(repeating: nil, count: division.modules.count)
        parts = Indices(below: division.count &+ 1).map { _ in Part() }
        blank = try run.filled(division.largest, with: 0)
    }

    /// The output of the module at `site` in an evaluation of the kind `pass`; `isWarm`: of the last whole one.
    func module(
        _ site: Site, _ pass: AsyncPass, isWarm: Bool, _ compute: Compute
    ) throws(DiffError) -> Slots {
        guard let division, let position = division.position(of: site) else { return try compute() }
        let component = division.components.at(position) ?? 0
        let isKept = division.isKept.at(position) ?? true
        if pass == .whole {
            let output = try compute()
            if isWarm, isKept { kept.put(output, at: position) }
            return output
        }
        guard pass.computes(component, of: division.count) else {
            if let output = kept.at(position) ?? nil { return output }
            return try blanks(division.modules.at(position)?.outputs ?? [])
        }
        let output = try compute()
        let part = if case .component(let active) = pass { parts.at(active) } else { parts.last }
        if isKept { part?.outputs.append((position, output)) }
        return output
    }

    /// Tensors of these shapes that nobody looks at.
    private func blanks(_ shapes: [Shape]) throws(DiffError) -> Slots {
        guard let blank, let first = shapes.first else { throw DiffError(.internal, "a module without outputs") }
        var slots = Slots(try Tensor(blank.storage, first))
        for shape in shapes.each.dropFirst() { slots.others.append(try Tensor(blank.storage, shape)) }
        return slots
    }

    /// Makes the evaluations `passes`, and gives what the one makes that computes the last component: the extra one, if there is one.
    /// All read what is kept now; when all are done, what they made takes its place, with `keepsExtra` also what the last module gave in the
    /// extra one.
    func evaluate(
        _ passes: [Call], _ executor: AsyncPlan.Executor, _ run: Run, keepsExtra: Bool = false, _ next: Evaluate
    ) throws(DiffError) -> Tensor {
        for part in parts.each { part.outputs = [] }
        var outputs: [Tensor] = []
        switch executor {
        case .sequential: for call in passes.each { outputs.append(try next(call, run)) }
        case .threads: outputs = try sideBySide(passes, run, next)
        }
        for (number, part) in parts.numbered {
            for (position, output) in part.outputs.each {
                let isPrediction = position == kept.count &- 1
                if number < parts.count &- 1 || keepsExtra && isPrediction { kept.put(output, at: position) }
            }
        }
        // Nothing else may keep the blocks from being used again.
        for part in parts.each { part.outputs = [] }
        let isExtra = passes.first.map { AsyncPass($0.pass) == .extra } ?? false
        guard let prediction = isExtra ? outputs.first : outputs.last else {
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

    /// Bytes of what is kept.
    var bytesHeld: Int {
        kept.each.reduce(blank?.storage.byteCount ?? 0) { Checked.sum($0, $1?.heldBytes ?? 0) }
    }
}
