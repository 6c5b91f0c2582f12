/// What happened at each site of each network call of a run, and the arithmetic it took: the source of statistics.
public struct Trace: Sendable {
    /// What was done with a site in a call, the weakest first: of several passes or lanes in a call the strongest
    /// counts.
    public enum Outcome: UInt8, Sendable {
        /// Not reached: its block, or the module around it, did not run.
        case skipped = 0
        /// A method gave an output it had kept.
        case reused = 1
        case computed = 2
    }

    /// Sites per call.
    public let sites: Int
    private var outcomes: [UInt8]
    /// Floating-point operations per call (a multiply-add counts as 2).
    public private(set) var flops: [Double]
    /// The call being recorded; nil outside a run.
    private var current: Int? = 0

    /// Room for `calls` network calls of a network with `sites` sites; nothing is allocated afterwards.
    public init(calls: Int, sites: Int) {
        self.sites = sites
        // Steps, lanes and sites are limited where they come in, far below these bounds.
        let calls = min(max(1, calls), 1 << 31)
        outcomes = Array(repeating: 0, count: max(0, calls &* min(max(0, sites), 1 << 31)))
        flops = Array(repeating: 0, count: calls)
    }

    /// Number of calls there is room for.
    public var calls: Int { flops.count }

    /// Begins `call`, of which nothing is known yet unless it is the first one's further lane: lanes of a call share its entry.
    mutating func start(_ call: Call) {
        let index = min(max(0, call.index), flops.count &- 1)
        let isFurtherLane = call.lane > 0 && current == index
        current = index
        guard !isFurtherLane else { return }
        for site in Indices(below: sites) { outcomes.put(0, at: index &* sites &+ site) }
    }

    /// Forgets all: the trace of a fork whose part was taken over.
    mutating func clear() {
        for index in outcomes.indices { outcomes.put(0, at: index) }
        for index in flops.indices { flops.put(0, at: index) }
    }

    mutating func close() { current = nil }

    mutating func mark(_ site: Site, _ outcome: Outcome) {
        guard let current, site.number < sites else { return }
        outcomes.update(at: current &* sites &+ site.number) { $0 = max($0, outcome.rawValue) }
    }

    /// Adds what a fork did on its part of the call being recorded.
    mutating func merge(_ fork: Trace) {
        guard let current, fork.sites == sites else { return }
        for site in Indices(below: sites) {
            let outcome = fork.outcomes.at(site) ?? 0
            outcomes.update(at: current &* sites &+ site) { $0 = max($0, outcome) }
        }
        count(flops: fork.flops.first ?? 0)
    }

    mutating func count(flops more: Double) {
        if let current { flops.update(at: current) { $0 += more } }
    }

    /// Operations of the call being recorded so far.
    var currentFlops: Double { current.flatMap { flops.at($0) } ?? 0 }

    /// What was done at `site` in `call`.
    public func outcome(_ site: Site, call: Int) -> Outcome {
        guard call >= 0, call < calls, site.number < sites else { return .skipped }
        return outcomes.at(call &* sites &+ site.number).flatMap(Outcome.init(rawValue:)) ?? .skipped
    }
}
