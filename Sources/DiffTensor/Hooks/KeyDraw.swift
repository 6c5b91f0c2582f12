/// The keys that a method lets all queries of an attention see: drawn at random, or given.
///
/// A draw depends on the seed, the call's index and the site alone. So it does not matter who else draws, in which order or how often:
/// lanes of guidance and passes of one call share their keys, a dry run uses nothing up, and a run that begins again draws the same.
public struct KeyDraw: Sendable {
    /// An attention of a run.
    public struct Place: Hashable, Sendable {
        /// ``Call/index`` of the network call, and the session's site.
        public let call: Int, site: Site

        /// The attention at `site` in call number `call`.
        public init(call: Int, site: Site) { (self.call, self.site) = (call, site) }
    }

    private let seed: UInt64
    private let given: [Place: [Int]]?

    /// Draws for a run with `seed` (``SamplingContext/seed``).
    public init(seed: UInt64) { (self.seed, given) = (seed, nil) }

    /// No draws but these keys.
    public init(given: [Place: [Int]]) { (seed, self.given) = (0, given) }

    /// The draw of the attention at `site` in the run's current call.
    public func draw(_ count: Int, of keys: Int, at site: Site, _ run: Run) throws(DiffError) -> [Int] {
        try draw(count, of: keys, at: Place(call: run.call.index, site: site), run)
    }

    /// `count` different keys of 0 ..< `keys`, in random order: the first entries of torch's randperm(keys).
    ///
    /// A dry run is told the first keys instead, which take the same memory. Throws `invalidArgument` when `count` is not in
    /// 0 ... `keys`, or not the number of keys that were given for this place.
    public func draw(_ count: Int, of keys: Int, at place: Place, _ run: Run) throws(DiffError) -> [Int] {
        guard count >= 0, count <= keys else {
            throw DiffError(.invalidArgument, "cannot draw \(count) of \(keys) keys")
        }
        if let given {
            let chosen = given[place]
            guard let chosen, chosen.count == count else {
                throw DiffError(
                    .invalidArgument,
                    "\(chosen?.count ?? 0) keys are given for call \(place.call) at site \(place.site.number), which takes "
                        + "\(count): give them for every call and site")
            }
            return chosen
        }
        guard !run.isDry else { return Array(Indices(below: count)) }
        var generator = stream(place.call, place.site)
        var permutation = [Int64](repeating: 0, count: keys)
        unsafe permutation.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            unsafe generator.permutation(start, count: buffer.count)
        }
        return Indices(below: count).map { Int(permutation.at($0) ?? 0) }
    }

    /// The generator of one call and site: splitmix64's finaliser after each number, so that neighbours have nothing in common.
    private func stream(_ call: Int, _ site: Site) -> TorchRandom {
        var mixed = seed
        for number in [call, site.number].each {
            mixed = Self.mixed(mixed &+ (UInt64(truncatingIfNeeded: number) &+ 1) &* 0x9e37_79b9_7f4a_7c15)
        }
        return TorchRandom(seed: mixed)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
