import DiffTensor

/// One component in this process, and the others in those that share the run.
///
/// A process computes the modules of its component and sends what others work on as soon as it is there. In the whole evaluations of the
/// warm-up it waits for what it needs where it needs it: the processes are a pipeline, with the numbers of one process. From then on it works
/// on what came for the call before. With a stride of 2 one more process makes the extra evaluations.
///
/// Source: the spec's design for clusters; numbers are those of ``AsyncWhole``.
final class AsyncMember: AsyncLane {
    private let ranks: RankShare
    /// Members that work on the output of each module, beside its owner.
    private let readers: [[Int]]
    /// What is to come of the current call, by position of the module.
    private var incoming: [(position: Int, slots: [RankShare.Incoming])] = []
    /// What was sent in the current call and in the one before. Kept until the second call after, when its readers are done with it: then
    /// the number of blocks does not depend on how fast messages are.
    private var sent: [RankShare.Outgoing] = [], sentBefore: [RankShare.Outgoing] = []
    /// Shape of predictions.
    private var shape: Shape?
    /// What the own component gives in the current call.
    private var made: [(position: Int, output: Slots)] = []

    init(
        _ plan: AsyncPlan, _ division: AsyncDivision, _ report: [NetworkComponent], _ ranks: RankShare, _ run: Run
    ) throws(DiffError) {
        self.ranks = ranks
        readers = Self.readers(division, plan)
        try super.init(plan, division, report, run)
    }

    private static func readers(_ division: AsyncDivision, _ plan: AsyncPlan) -> [[Int]] {
        let members = plan.members
        var isReader = division.modules.each.map { _ in [Bool](repeating: false, count: members) }
        for (position, module) in division.modules.numbered {
            let component = division.components.at(position) ?? 0
            for source in module.sources.each where division.components.at(source) != component {
                isReader.update(at: source) { flags in
                    flags.put(true, at: component)
                    // The member of extra evaluations works on what the last component works on.
                    if component == division.count &- 1 { flags.put(true, at: division.count) }
                }
            }
        }
        for position in division.finals.each {
            isReader.update(at: position) { flags in
                // Of them every member makes the second prediction of a pair, and the last component's the first.
                for member in flags.indices where plan.stride == 2 || member == division.count &- 1 {
                    flags.put(true, at: member)
                }
            }
        }
        return isReader.each.map { flags in flags.numbered.compactMap { $0.element ? $0.offset : nil } }
    }

    /// Whether this process makes the extra evaluations.
    private var isExtra: Bool { ranks.member == division.count }
    private var lastComponent: Int { division.count &- 1 }

    /// Who gives the output of the module at `position`: its component's member, of the prediction that the released code repeats the extra one.
    private func owner(_ position: Int, isWarm: Bool) -> Int {
        position == last && !isWarm && plan.stride == 2 && plan.variant == .released
            ? division.count : division.components.at(position) ?? 0
    }

    // MARK: Evaluations

    override func evaluate(
        _ call: Call, _ times: AsyncTimes, _ run: Run, _ next: Evaluate
    ) throws(DiffError) -> Tensor {
        let index = call.index
        guard index >= plan.warmUp else {
            try expect(isWarm: true, run)
            let own = try next(call, run)
            incoming = []
            shape = own.shape
            // What other members evaluated is made of what nobody looks at.
            let prediction = ranks.member == lastComponent ? own : try run.workspace.take(own.shape)
            sent += try ranks.spread(prediction, fromMember: lastComponent, run)
            return prediction
        }
        if plan.stride == 1 {
            try arrive()
            return try evaluate(
                times.isLast(index) ? nil : .component(ranks.member), index, predicts: .component(lastComponent),
                by: lastComponent, call, times, run, next)
        }
        guard index % 2 == 1 else {
            try arrive()
            return try next(times.pass(.replay, index, call), run)
        }
        let readsLast = plan.variant == .paper || division.lastIsRead
        let works = !times.isLast(index) && !isExtra && (readsLast || ranks.member < lastComponent)
        return try evaluate(
            works ? .component(ranks.member) : nil, index &+ 1, predicts: .extra, by: division.count, call, times, run,
            next)
    }

    /// One call in which this member makes the evaluation `pass`, told the time of call `index`, and `predictor` makes the prediction, in an
    /// evaluation of the kind `kind` at the time of the call itself.
    private func evaluate(
        _ pass: AsyncPass?, _ index: Int, predicts kind: AsyncPass, by predictor: Int, _ call: Call,
        _ times: AsyncTimes, _ run: Run, _ next: Evaluate
    ) throws(DiffError) -> Tensor {
        made = []
        if !times.isLast(call.index) { try expect(isWarm: false, run) }
        var output: Tensor?
        if ranks.member == predictor {
            output = try next(times.pass(kind, call.index, call), run)
        } else if let pass {
            output = try next(times.pass(pass, index, call), run)
        }
        guard let shape else { throw DiffError(.internal, "components without a whole evaluation before") }
        let prediction = if let output, ranks.member == predictor { output } else { try run.workspace.take(shape) }
        sent += try ranks.spread(prediction, fromMember: predictor, run)
        for (position, output) in made.each { kept.put(output, at: position) }
        made = []
        return prediction
    }

    override func module(_ position: Int, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        try ranks.progress()
        let isWarm = run.call.index < plan.warmUp
        let pass = AsyncPass(run.call.pass)
        let component = division.components.at(position) ?? 0
        guard isWarm ? component == ranks.member : pass.computes(component, of: division.count) else {
            if isWarm { try arrive(position) }
            return try answer(position)
        }
        let output = try compute()
        guard division.isKept.at(position) ?? true else { return output }
        if isWarm {
            kept.put(output, at: position)
        } else if pass != .extra || owner(position, isWarm: false) == ranks.member {
            made.append((position, output))
        }
        let isAwaited = isWarm || run.call.index &+ 1 < run.call.count
        if isAwaited, owner(position, isWarm: isWarm) == ranks.member { try send(output, position, run) }
        return output
    }

    // MARK: Messages

    private func send(_ output: Slots, _ position: Int, _ run: Run) throws(DiffError) {
        for reader in (readers.at(position) ?? []).each where reader != ranks.member {
            for slot in Indices(below: output.count) {
                guard let tensor = output[slot] else { continue }
                sent.append(try ranks.send(tensor, toMember: reader, tag: tag(position, slot), run))
            }
        }
    }

    /// Modules give two tensors at most where tags are below the share's own; more modules than that are refused when the run begins.
    private func tag(_ position: Int, _ slot: Int) -> Int { Self.slots &* position &+ slot }

    /// Outputs of a module that can be told apart, and modules that can.
    static let slots = 8, mostModules = RankShare.ownTags / slots

    /// Posts what the others will send in a call.
    private func expect(isWarm: Bool, _ run: Run) throws(DiffError) {
        try ranks.wait(sentBefore)
        (sentBefore, sent, incoming) = (sent, [], [])
        for (position, module) in division.modules.numbered {
            let owner = owner(position, isWarm: isWarm)
            guard owner != ranks.member, readers.at(position)?.each.contains(ranks.member) == true else { continue }
            var slots: [RankShare.Incoming] = []
            for (slot, shape) in module.outputs.numbered {
                slots.append(try ranks.receive(shape, fromMember: owner, tag: tag(position, slot), run))
            }
            incoming.append((position, slots))
        }
    }

    /// Waits for all that is to come, which takes the place of what is kept.
    private func arrive() throws(DiffError) {
        for (position, slots) in incoming.each { try arrive(position, slots) }
        incoming = []
    }

    /// Waits for the output of one module, if it is to come.
    private func arrive(_ position: Int) throws(DiffError) {
        for (other, slots) in incoming.each where other == position { try arrive(position, slots) }
    }

    private func arrive(_ position: Int, _ slots: [RankShare.Incoming]) throws(DiffError) {
        for slot in slots.each { try ranks.wait(slot) }
        guard let first = slots.first else { return }
        var output = Slots(first.tensor)
        for (slot, more) in slots.numbered where slot > 0 { output.others.append(more.tensor) }
        kept.put(output, at: position)
    }
}
