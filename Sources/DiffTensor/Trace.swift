/// What happened at each site of each network call of a run, and the arithmetic it took: the source of statistics.
public struct Trace: Sendable {
    /// What was done with a site in a call.
    public enum Outcome: UInt8, Sendable {
        /// Not reached: its block, or the module around it, did not run.
        case skipped = 0
        case computed = 1
        /// A method gave an output it had kept.
        case reused = 2
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
        outcomes = Array(repeating: 0, count: calls &* min(max(0, sites), 1 << 31))
        flops = Array(repeating: 0, count: calls)
    }

    /// Number of calls there is room for.
    public var calls: Int { flops.count }

    mutating func start(call: Int) { current = min(max(0, call), flops.count &- 1) }

    mutating func close() { current = nil }

    mutating func mark(_ site: Site, _ outcome: Outcome) {
        guard let current, site.number < sites else { return }
        outcomes.put(outcome.rawValue, at: current &* sites &+ site.number)
    }

    mutating func count(flops more: Double) {
        if let current { flops.update(at: current) { $0 += more } }
    }

    /// What was done at `site` in `call`.
    public func outcome(_ site: Site, call: Int) -> Outcome {
        guard call >= 0, call < calls, site.number < sites else { return .skipped }
        return outcomes.at(call &* sites &+ site.number).flatMap(Outcome.init(rawValue:)) ?? .skipped
    }
}
