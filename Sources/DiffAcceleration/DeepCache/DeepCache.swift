public import DiffTensor

/// Deep features kept: between two full calls only the shallow end of a network with skip connections is computed, and what its deep part
/// gave in the full call before is used again.
///
/// What is shallow: the last layers on the way up, as many as wanted, and all on the way down to the deepest skip that these take. Of the
/// deep part one tensor is kept, that which enters the first of these layers.
/// Source: DeepCache (Ma, Fang and Wang 2023, arXiv 2312.00858).
public final class DeepCache: Acceleration {
    private let interval: Int, layers: Int
    /// Sites of the deep part, none within another, and the last of them, whose output is kept.
    private var deep = SiteSet()
    private var last: Site?
    /// State of one lane. An object of its own, since lanes may be evaluated at once.
    private final class Lane {
        var kept: Tensor?
        /// Slots of each site's output by number, of which neighbours count on as many.
        var slots: [Int: Int] = [:]
    }

    /// The same objects from `begin` to `release`.
    private var lanes: [Lane] = []

    /// One full call in `interval`; between them the last `layers` layers on the way up are computed.
    public init(interval: Int, layers: Int) { (self.interval, self.layers) = (interval, layers) }

    /// Finds the deep part. Throws `incompatible` for networks without skips, or with fewer than are to be computed.
    public func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
        guard interval > 1, let layout = context.layouts.first else { return HookSet() }
        let sites = try DeepPart(layout, layers: layers).sites
        (deep, last) = (SiteSet(), nil)
        var hooks = HookSet()
        hooks.separatesLanes = true
        for site in sites.each {
            let site = context.site(site, of: 0)
            deep.insert(site)
            hooks.modules.insert(site)
            last = site
        }
        lanes = Indices(below: context.lanes).map { _ in Lane() }
        return hooks
    }

    /// Computes in full calls, and keeps what leaves the deep part; answers for the deep part in all others.
    public func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots {
        guard deep.contains(site), let lane = lanes.at(run.call.lane) else { return try compute() }
        let period = max(1, interval)
        let isFull = run.call.index % period == 0
        guard isFull || lane.kept == nil else { return answer(site, inputs, lane) }
        // The old tensor goes first: its block can then serve as the new one's.
        if site == last { lane.kept = nil }
        let output = try compute()
        lane.slots.put(output.count, for: site.number)
        let isReused = run.call.index &+ 1 < run.call.count && (run.call.index &+ 1) % period != 0
        if site == last, isReused { lane.kept = output.first }
        return output
    }

    /// What is kept, of the last site; of the others nothing that anything will look at, in as many slots as they have.
    private func answer(_ site: Site, _ inputs: Slots, _ lane: Lane) -> Slots {
        if site == last, let kept = lane.kept { return Slots(kept) }
        var answer = Slots(inputs.first)
        for _ in Indices(below: (lane.slots[site.number] ?? 1) &- 1) { answer.others.append(inputs.first) }
        return answer
    }

    /// Drops what is kept.
    public func release() { lanes = [] }

    /// Bytes of what is kept.
    public var bytesHeld: Int { lanes.each.reduce(0) { Checked.sum($0, $1.kept?.storage.byteCount ?? 0) } }
}

/// The part of a network between the skips that its last layers take and these layers.
struct DeepPart {
    /// The largest modules of it that are whole, in the order in which the network visits them.
    let sites: [Site]

    /// The part that is deep when the last `layers` ends of skip connections are computed.
    init(_ layout: SiteLayout, layers: Int) throws(DiffError) {
        var takers: [(site: Int, giver: Int)] = []
        for (number, info) in layout.sites.numbered {
            guard let partner = info.partner, info.kind != .block, partner.number < number else { continue }
            takers.append((number, partner.number))
        }
        guard takers.count > 1 else {
            throw DiffError(
                .incompatible, "a \(layout.family) model has no skip connections around a deep part that could be kept")
        }
        guard layers < takers.count, let first = takers.at(takers.count &- layers) else {
            throw DiffError(
                .incompatible,
                "the model has \(takers.count) layers on the way up: layers must be 1...\(takers.count &- 1)")
        }
        // Parents are numbered before their children, and these before what follows.
        var ends = Array(Indices(below: layout.sites.count))
        for back in Indices(below: layout.sites.count) {
            let number = layout.sites.count &- 1 &- back
            guard let parent = layout.sites.at(number)?.parent?.number else { continue }
            ends.put(max(ends.at(parent) ?? parent, ends.at(number) ?? number), at: parent)
        }
        var deepest = 0
        for taker in takers.each where taker.site >= first.site {
            deepest = max(deepest, ends.at(taker.giver) ?? taker.giver)
        }
        var (sites, next): ([Site], Int) = ([], deepest &+ 1)
        for number in Indices(below: layout.sites.count) where number >= next {
            let end = ends.at(number) ?? number
            guard end < first.site, let site = layout.site(at: number) else { continue }
            sites.append(site)
            next = end &+ 1
        }
        self.sites = sites
    }
}
