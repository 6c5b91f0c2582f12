/// How many evaluations of the network a run makes.
public enum CallCount: Sendable, Equatable {
    case exactly(Int)
    /// An adaptive sampler decides while it runs, and throws `unsupported` beyond this bound.
    case atMost(Int)

    /// The number, or its bound.
    public var limit: Int {
        switch self {
        case .exactly(let count), .atMost(let count): count
        }
    }
}

/// What a method is told before a run: enough to refuse, and to build its tables.
public struct SamplingContext: Sendable {
    /// Classifier-free guidance as the network meets it.
    public enum Guidance: Sendable, Equatable {
        /// Conditional rows only.
        case none
        /// Conditional rows, followed by as many unconditional ones.
        case batched
        /// Conditional and unconditional rows in calls of their own, lane 0 and lane 1.
        case lanes
        /// The same lanes side by side, each on a fork of the run.
        case split
        /// One batch, of which each group of processes evaluates some rows.
        case ranks
    }

    /// The sites of each network of the session, the one that plans act on first.
    public let layouts: [SiteLayout]
    /// Network calls per lane.
    public let calls: CallCount
    /// Sampler steps.
    public let steps: Int
    /// The time each call embeds, in order; empty when the sampler cannot know them ahead.
    public let times: [Float]
    /// Samples per network call at most, and lanes.
    public let rows: Int, lanes: Int
    /// How guidance is computed.
    public let guidance: Guidance
    /// Whether networks remember earlier calls, so that a call can be neither repeated nor left out.
    public let isStateful: Bool
    /// The processes that share the calls of the run; nil: it has one.
    public var ranks: RankShare?
    /// The request's seed: what a method draws, it draws from a stream of its own made of this.
    public let seed: UInt64
    private let bases: [Int]

    /// The facts of a run over `layouts`.
    public init(
        layouts: [SiteLayout], calls: CallCount, steps: Int, rows: Int, lanes: Int = 1, times: [Float] = [],
        guidance: Guidance = .none, seed: UInt64 = 0, isStateful: Bool = false
    ) {
        (self.layouts, self.calls, self.steps, self.rows, self.lanes) = (layouts, calls, steps, rows, lanes)
        (self.times, self.guidance, self.seed, self.isStateful) = (times, guidance, seed, isStateful)
        var (bases, next) = ([Int](), 0)
        for layout in layouts.each {
            bases.append(next)
            next = Checked.sum(next, layout.sites.count)
        }
        self.bases = bases + [next]
    }

    /// A run of `calls` calls, one a step.
    public init(layouts: [SiteLayout], calls: Int, rows: Int) {
        self.init(layouts: layouts, calls: .exactly(calls), steps: calls, rows: rows)
    }

    /// Sites of all networks.
    public var siteCount: Int { max(0, bases.last ?? 0) }

    /// An array that has `element` for each site of all networks.
    public func perSite<Element>(_ element: Element) -> [Element] {
        Array(repeating: element, count: max(0, siteCount))
    }

    /// The session's name for a site of network `network`: sites are numbered through all networks of a session.
    public func site(_ site: Site, of network: Int) -> Site { site.moved(by: bases.at(network) ?? 0) }

    /// The sites of these kinds in network `network`, in the order in which it visits them.
    public func sites(of network: Int = 0, _ kinds: SiteInfo.Kind...) -> [Site] {
        guard let layout = layouts.at(network) else { return [] }
        return layout.sites(kinds).map { site($0, of: network) }
    }

    /// First site of each network.
    var networkBases: [Int] { bases }
}
