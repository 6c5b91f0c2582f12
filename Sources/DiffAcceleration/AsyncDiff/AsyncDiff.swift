public import DiffTensor

/// Asynchronous denoising: a network in components that work at the same time, each on what the others gave in the call before.
///
/// Hidden states change little from one call to the next. After a warm-up of whole evaluations, a component therefore reads what crosses
/// from others out of the cache of the call before, and only within itself out of the call at hand. With a stride of 2 the components are
/// evaluated in every second call: two predictions, which differ by their times, come of one exchange.
///
/// One evaluation of the network that is active in component c goes through all of it, computes the modules of c and answers for all others
/// with what is kept. Nothing depends on who is done first: components read what was kept before the call, and what they give takes its place
/// when all are done.
/// Source: AsyncDiff (Chen et al. 2024, arXiv 2406.06911) and its released code.
public final class AsyncDiff: Acceleration {
    private let plan: AsyncPlan
    private var context: SamplingContext?
    /// The modules as the session numbers them, and where they belong if that is known before the first call.
    private var sites: [Site] = []
    private var assigned: [Int]?
    /// Parts of modules between which they may be cut, by the number of the module; of none where cuts are given.
    private var parts: [[Site]] = []
    /// What is known of a lane, once its first call has come.
    private final class Lane {
        var state: AsyncLane?
    }

    /// One for each lane, the same objects from `begin` to `release`.
    private var lanes: [Lane] = []
    /// A division by measured times, and the outputs of the network that it is for: one of a session serves all its runs.
    private var measured: (outputs: [[Shape]], components: [Int])?
    /// The parts into which the work of a call is divided.
    public var components: [NetworkComponent] { lanes.first?.state?.report ?? [] }

    /// The method with the settings of `plan`.
    public init(_ plan: AsyncPlan) { self.plan = plan }

    /// Throws `incompatible` when the network cannot be cut like that, `unsupported` where the sampler does not know its calls ahead.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard case .exactly(let calls) = context.calls, context.times.count == calls else {
            throw DiffError(
                .unsupported,
                "asynchronous denoising needs a sampler whose calls are known before the run, such as ddim")
        }
        // Nothing but whole evaluations.
        guard plan.warmUp < calls, let layout = context.layouts.first else { return HookSet() }
        let modules = try AsyncModules(layout, plan)
        sites = modules.sites.each.map { context.site($0, of: 0) }
        // The session's first network is the one that is divided: its sites have the layout's numbers.
        parts = modules.parts
        (assigned, self.context) = (modules.components, context)
        try check(context)
        lanes = Indices(below: context.lanes).map { _ in Lane() }
        var hooks = HookSet()
        var asked = SiteSet(sites)
        for list in parts.each { for site in list.each { asked.insert(site) } }
        (hooks.modules, hooks.evaluations, hooks.separatesLanes) = (asked, true, true)
        return hooks
    }

    private func check(_ context: SamplingContext) throws(DiffError) {
        guard plan.split != .measured || context.guidance != .split else {
            throw DiffError(
                .incompatible,
                "modules cannot be timed while two halves of the guidance run side by side: set guidance_execution to \"batched\", or another split"
            )
        }
        guard let ranks = context.ranks, plan.executor == .mpi else { return }
        guard ranks.members == plan.members else {
            throw DiffError(
                .internal, "\(ranks.members) ranks in a group, \(plan.members) are needed")
        }
        guard plan.split != .measured else {
            throw DiffError(
                .unsupported,
                "each rank has the weights of its own component only and cannot time the others: measure in one process, and list the modules that the components in its result's statistics have"
            )
        }
        guard context.guidance != .split else {
            throw DiffError(
                .incompatible,
                "messages between ranks are for one call at a time: set guidance_execution to \"batched\"")
        }
        guard sites.count <= AsyncMember.mostModules else {
            throw DiffError(.unsupported, "more than \(AsyncMember.mostModules) modules are not divided over ranks")
        }
    }

    /// Computes the modules of the component that an evaluation is about, and answers for others.
    public func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots {
        guard let lane = lanes.at(run.call.lane)?.state, let position = lane.division.position(of: site) else {
            return try compute()
        }
        return try lane.module(position, run, compute)
    }

    /// Whole evaluations first, then the components.
    public func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
        guard let lane = lanes.at(call.lane), let context else { return try next(call, run) }
        let state = if let known = lane.state { known } else { try divide(call, run, context, next) }
        lane.state = state
        return try state.evaluate(call, AsyncTimes(context.times, isShifted: plan.timeShift), run, next)
    }

    /// Finds out what the modules give and need at the sizes of the run, and cuts where it is left to that.
    private func divide(
        _ call: Call, _ run: Run, _ context: SamplingContext, _ next: Evaluate
    ) throws(DiffError) -> AsyncLane {
        var profile = try run.profile(sites, of: call, context.layouts, next)
        guard profile.modules.count == sites.count else {
            throw DiffError(
                .incompatible, "asynchronous denoising needs a network that runs all its modules in every call")
        }
        if plan.split == .measured {
            let outputs = profile.modules.each.map { $0.outputs }
            if measured?.outputs != outputs, !run.isDry {
                profile = try run.profile(sites, of: call, context.layouts, timed: true, next)
                let costs = profile.modules.each.map { $0.seconds }
                measured = (outputs, AsyncDivision.balanced(costs, plan.components))
            }
        }
        var components = assigned.map { owners(of: profile, $0, at: sites) } ?? measured?.components ?? []
        if components.isEmpty {
            components = AsyncDivision.balanced(profile.modules.each.map { $0.flops }, plan.components)
            if let finer = try finer(profile, components, call, run, context, next) { (profile, components) = finer }
        }
        let division = AsyncDivision(profile, components, count: plan.components, sites: context.siteCount)
        let layout = context.layouts.first
        let report = division.report { layout?.info($0).name ?? "" }
        if plan.executor == .mpi, let ranks = run.ranks {
            return try AsyncMember(plan, division, report, ranks, run)
        }
        return try AsyncWhole(plan, division, report, run)
    }

    /// More even components, of modules of which some are cut; nil: there are none that are worth it.
    private func finer(
        _ whole: SiteProfile, _ components: [Int], _ call: Call, _ run: Run, _ context: SamplingContext,
        _ next: Evaluate
    ) throws(DiffError) -> (SiteProfile, [Int])? {
        var finest: [Site] = []
        for site in sites.each {
            let own = parts.at(site.number) ?? []
            if own.isEmpty { finest.append(site) } else { for part in own.each { finest.append(part) } }
        }
        guard finest.count > sites.count,
            let cut = FineCut(whole, try run.profile(finest, of: call, context.layouts, next), inner: parts),
            let (chosen, owners) = cut.balanced(plan.components, beside: components)
        else { return nil }
        let profile = try run.profile(chosen, of: call, context.layouts, next)
        guard profile.modules.count == chosen.count else { return nil }
        return (profile, self.owners(of: profile, owners, at: chosen))
    }

    /// The components `assigned` to `sites`, in the order in which the modules run.
    private func owners(of profile: SiteProfile, _ assigned: [Int], at sites: [Site]) -> [Int] {
        var owners = context?.perSite(0) ?? []
        for (position, site) in sites.numbered { owners.put(assigned.at(position) ?? 0, at: site.number) }
        return profile.modules.each.map { owners.at($0.site.number) ?? 0 }
    }

    /// Drops what is kept, and gives threads back.
    public func release() { lanes = [] }

    /// Bytes of what is kept.
    public var bytesHeld: Int { lanes.each.reduce(0) { Checked.sum($0, $1.state?.bytesHeld ?? 0) } }
}
