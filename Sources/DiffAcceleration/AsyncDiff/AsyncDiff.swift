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
    /// One for each lane, the same objects from `begin` to `release`.
    private var lanes: [AsyncLane] = []
    /// A division by measured times, and the outputs of the network that it is for: one of a session serves all its runs.
    private var measured: (outputs: [[Shape]], components: [Int])?
    /// The parts into which the work of a call is divided.
    public var components: [NetworkComponent] { lanes.first?.report ?? [] }

    /// The method with the settings of `plan`.
    public init(_ plan: AsyncPlan) { self.plan = plan }

    /// Throws `incompatible` when the network cannot be cut like that, `unsupported` where the sampler does not know its calls ahead.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard case .exactly(let calls) = context.calls, context.times.count == calls else {
            throw DiffError(
                .unsupported, "asynchronous denoising needs a sampler whose calls are known before the run, such as ddim")
        }
        guard plan.split != .measured || context.guidance != .split else {
            throw DiffError(
                .incompatible,
                "modules cannot be timed while two halves of the guidance run side by side: set guidance_execution to \"batched\", or another split"
            )
        }
        // Nothing but whole evaluations.
        guard plan.warmUp < calls, let layout = context.layouts.first else { return HookSet() }
        let modules = try AsyncModules(layout, plan)
        sites = modules.sites.each.map { context.site($0, of: 0) }
        (assigned, self.context) = (modules.components, context)
        lanes = Indices(below: context.lanes).map { _ in AsyncLane() }
        var hooks = HookSet()
        (hooks.modules, hooks.evaluations, hooks.separatesLanes) = (SiteSet(sites), true, true)
        return hooks
    }

    /// Computes the modules of the component that a pass is about, and answers for others.
    public func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots {
        guard let lane = lanes.at(run.call.lane) else { return try compute() }
        return try lane.module(site, AsyncPass(run.call.pass), isWarm: run.call.index &+ 1 == plan.warmUp, compute)
    }

    /// Whole evaluations first, then the components.
    public func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
        guard let lane = lanes.at(call.lane), let context else { return try next(call, run) }
        if lane.division == nil { try divide(lane, call, run, context, next) }
        guard call.index >= plan.warmUp else { return try next(call, run) }
        let isLast = call.index &+ 1 >= context.times.count
        if plan.stride == 1 {
            // What other components would give after the last call serves nothing.
            let parts = isLast ? [plan.components &- 1] : Array(Indices(below: plan.components))
            return try lane.evaluate(
                parts.each.map { pass(.component($0), at: call.index, call, context) }, plan.executor, run, next
            )
        }
        // Nothing is computed: the second prediction of the pair.
        guard call.index % 2 == 1 else { return try next(pass(.replay, at: call.index, call, context), run) }
        var passes = [pass(.extra, at: call.index, call, context)]
        let readsLast = plan.variant == .paper || lane.division?.lastIsRead ?? true
        for part in Indices(below: isLast ? 0 : plan.components) where readsLast || part < plan.components &- 1 {
            passes.append(pass(.component(part), at: call.index &+ 1, call, context))
        }
        return try lane.evaluate(passes, plan.executor, run, keepsExtra: plan.variant == .released, next)
    }

    /// The call of a pass with the time of call `index` of the run, or of the one before it.
    private func pass(_ pass: AsyncPass, at index: Int, _ call: Call, _ context: SamplingContext) -> Call {
        var call = call
        call.pass = pass.number
        call.time = context.times.at(plan.timeShift ? index &- 1 : index) ?? call.time
        return call
    }

    /// Finds out what the modules give and need at the sizes of the run, and cuts where it is left to that.
    private func divide(
        _ lane: AsyncLane, _ call: Call, _ run: Run, _ context: SamplingContext, _ next: Evaluate
    ) throws(DiffError) {
        var profile = try run.profile(sites, of: call, context.layouts, next)
        guard profile.modules.count == sites.count else {
            throw DiffError(.incompatible, "asynchronous denoising needs a network that runs all its modules in every call")
        }
        if plan.split == .measured {
            let outputs = profile.modules.each.map { $0.outputs }
            if measured?.outputs != outputs, !run.isDry {
                profile = try run.profile(sites, of: call, context.layouts, timed: true, next)
                let costs = profile.modules.each.map { $0.seconds }
                measured = (outputs, AsyncDivision.balanced(costs, plan.components))
            }
        }
        let components =
            assigned.map { owners(of: profile, $0) } ?? measured?.components
            ?? AsyncDivision.balanced(profile.modules.each.map { $0.flops }, plan.components)
        let division = AsyncDivision(profile, components, count: plan.components, sites: context.siteCount)
        // The session's first network is the one that is divided: its sites have the layout's numbers.
        let layout = context.layouts.first
        try lane.begin(division, division.report { layout?.info($0).name ?? "" }, run)
    }

    /// The assigned components in the order in which the modules run.
    private func owners(of profile: SiteProfile, _ assigned: [Int]) -> [Int] {
        var owners = context?.perSite(0) ?? []
        for (position, site) in sites.numbered { owners.put(assigned.at(position) ?? 0, at: site.number) }
        return profile.modules.each.map { owners.at($0.site.number) ?? 0 }
    }

    /// Drops what is kept, and gives threads back.
    public func release() { lanes = [] }

    /// Bytes of what is kept.
    public var bytesHeld: Int { lanes.each.reduce(0) { Checked.sum($0, $1.bytesHeld) } }
}
