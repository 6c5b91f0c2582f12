// What surfaces and families ask a plan.
public import DiffTensor

extension Plan: CustomStringConvertible {
    /// The names of its methods: `l2c + depth`; `plain model` for none.
    public var description: String {
        entries.isEmpty ? "plain model" : entries.each.map { type(of: $0).method }.joined(separator: " + ")
    }
}

extension Plan {
    /// The entry that works with a second network, if there is one.
    public var partner: (any PartneredPlanEntry)? {
        for entry in entries.each {
            if let entry = entry as? any PartneredPlanEntry { return entry }
        }
        return nil
    }

    /// What the methods have to say about a run of this kind.
    public func advice(_ context: SamplingContext) -> [String] {
        entries.each.compactMap { ($0 as? any AdvisedPlanEntry)?.advice(context) }
    }

    /// The entry that has several processes evaluate a network together, if there is one.
    public var ranked: (any RankedPlanEntry)? {
        for entry in entries.each {
            if let entry = entry as? any RankedPlanEntry, entry.rankMembers != nil { return entry }
        }
        return nil
    }

    /// The plan with this executor where an entry has one. Throws `invalidArgument` when none has.
    public func executed(by executor: AsyncPlan.Executor) throws(DiffError) -> Plan {
        var (plan, isFound) = (self, false)
        for (index, entry) in entries.numbered {
            guard let entry = entry as? any RankedPlanEntry else { continue }
            plan.entries.put(try entry.executed(by: executor), at: index)
            isFound = true
        }
        guard isFound else {
            throw DiffError(
                .invalidArgument, "the plan \(self) has no entry with an executor; \"async\" has one, such as async:2")
        }
        return plan
    }

    /// The plan with a network divided into these modules; nil when no entry divides one into as many components.
    public func divided(into components: [[String]]) throws(DiffError) -> Plan? {
        for (index, entry) in entries.numbered {
            guard let divided = try (entry as? any RankedPlanEntry)?.divided(into: components) else { continue }
            var plan = self
            plan.entries.put(divided, at: index)
            return plan
        }
        return nil
    }

    /// Whether a method decodes text block by block.
    public var isBlockwise: Bool {
        entries.each.contains { ($0 as? any BlockwisePlanEntry)?.isBlockwise ?? false }
    }

    /// The learned router in the plan.
    public var router: Router? {
        for entry in entries.each {
            guard let caching = entry as? LayerCachePlan else { continue }
            switch caching.policy {
            case .learned(let router), .shuffled(let router, _): return router
            case .none, .alternate, .interval, .random: continue
            }
        }
        return nil
    }

    /// The sampling steps that the plan's router was learned for; nil: the plan fits any number.
    public var learnedSteps: Int? { router?.steps }
}
