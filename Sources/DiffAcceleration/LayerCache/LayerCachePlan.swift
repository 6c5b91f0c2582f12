public import DiffCheckpoint
public import DiffTensor

/// Layer caching as data. JSON: `{"method": "l2c"}` with one of
/// `logits` (rows of a learned router), `threshold` and `period`; `router` (a file beside the plan) with the same;
/// `policy`: `none`, `alternate`, `interval` (with `interval`), `random` (with `ratio` and `seed`; with a router instead of a
/// ratio, as many reuses per step as it has).
public struct LayerCachePlan: PlanEntry, Equatable {
    /// The name in plans.
    public static let method = "l2c"
    /// The threshold of the authors' ImageNet 256 results.
    public static let defaultThreshold = 0.1
    /// The seed of random rules that name none.
    public static let defaultSeed: UInt32 = 0

    /// Which sub-layers are computed when.
    public var policy: CachePolicy

    /// An entry for `policy`.
    public init(_ policy: CachePolicy) { self.policy = policy }

    /// What a policy is called in plans.
    private enum Policy: String, CaseIterable {
        case learned, none, alternate, interval, random
    }

    /// What an entry may say.
    public static let options = [
        OptionSpec(
            "policy", .cases(of: Policy.self), default: .string(Policy.learned.rawValue),
            "Which sub-layers are computed: as a learned router says, or by a rule."),
        OptionSpec(
            "logits", .list(.list(.number(.finite), 0...Int.max), 0...Int.max), absent: "those of the router file",
            "A learned router: a row for each network call, the cleanest first; a column for each attention and MLP."),
        OptionSpec("router", .text, absent: "the router is in `logits`", "A router file beside the plan."),
        OptionSpec(
            "threshold", .number(0...1), absent: "that of the router file, else \(defaultThreshold)",
            "A sub-layer is computed where its score is above this."),
        OptionSpec(
            "period", .integer(2...1000), absent: "that of the router file, else 2",
            "One step in this many is a full one."),
        OptionSpec(
            "interval", .integer(1...1_000_000), absent: "needed by the policy interval",
            "Steps from one full step to the next."),
        OptionSpec(
            "ratio", .number(0...1), absent: "needed by the policy random without a router",
            "Share of the sub-layers that the policy random leaves out."),
        OptionSpec(
            "seed", .integer(0...Int(UInt32.max)), default: .integer(Int(defaultSeed)),
            "What the policy random draws from."),
    ]

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        // Released router files carry many other fields; only entries written as plans are held to known names.
        let options = try json.has("method") ? Self.read(json) : Options(Self.known(json), Self.options)
        switch try options.getCase("policy", of: Policy.self) {
        case .none: policy = .none
        case .alternate: policy = .alternate
        case .interval:
            policy = .interval(every: try options.needed("interval", because: "the policy interval needs it"))
        case .random:
            let seed: UInt64 = try options.get("seed")
            policy =
                options.has("logits") || options.has("router")
                ? .shuffled(try Self.router(json, options, files), seed: seed)
                : .random(
                    ratio: try options.needed("ratio", because: "the policy random needs it, or a router"), seed: seed)
        case .learned: policy = .learned(try Self.router(json, options, files))
        }
    }

    /// What of a router file an entry has too. Without a policy the settings of rules are no settings: a `seed` is that of a training.
    private static func known(_ json: JSONObject) throws(DiffError) -> JSONObject {
        let ofRouters = ["logits", "router", "threshold", "period"]
        var members: [String: JSON] = [:]
        for option in options.each where json.has("policy") || ofRouters.contains(option.name) {
            if let value = json.value(option.name) { members.put(value, for: option.name) }
        }
        return try JSONObject(.object(members), source: json.source, path: json.path)
    }

    private static func router(
        _ json: JSONObject, _ options: Options, _ files: (String) throws(DiffError) -> JSON
    ) throws(DiffError) -> Router {
        var source = json
        if let file = try options.optional("router", as: String.self) {
            source = try JSONObject(files(file), source: file)
        }
        let official = try source.optionalNumber("official_threshold", in: 0...1)
        let own = try source.optionalNumber("threshold", in: 0...1)
        let threshold = try options.optional("threshold") ?? own ?? official ?? defaultThreshold
        let ownPeriod = try source.integer("period", in: 2...1000, default: 2)
        let period = try options.optional("period") ?? ownPeriod
        var rows: [[Float]] = []
        for (index, row) in try source.array("logits").numbered {
            guard case .array(let values) = row else {
                throw source.error("logits[\(index)]", "expected an array of numbers")
            }
            var logits: [Float] = []
            for (column, value) in values.numbered {
                guard let number = value.asDouble else {
                    throw source.error("logits[\(index)][\(column)]", "expected a number")
                }
                logits.append(Float(number))
            }
            rows.append(logits)
        }
        return try locating(source.source) { () throws(DiffError) in
            try Router(logits: rows, threshold: threshold, period: period)
        }
    }

    /// The entry with its `method`; reading it gives an equal entry.
    public var json: JSON {
        var members: [String: JSON] = ["method": .string(Self.method)]
        switch policy {
        case .none: members["policy"] = .string("none")
        case .alternate: members["policy"] = .string("alternate")
        case .interval(let every):
            members["policy"] = .string("interval")
            members["interval"] = .integer(every)
        case .random(let ratio, let seed):
            members["policy"] = .string("random")
            members["ratio"] = .number(ratio)
            members["seed"] = seedJSON(seed)
        case .shuffled(let router, let seed):
            members["policy"] = .string("random")
            members["seed"] = seedJSON(seed)
            members.merge(Self.members(router)) { first, _ in first }
        case .learned(let router):
            members.merge(Self.members(router)) { first, _ in first }
        }
        return .object(members)
    }

    /// The low 32 bits: all that the generator uses of a seed.
    private func seedJSON(_ seed: UInt64) -> JSON { .integer(Int(UInt32(truncatingIfNeeded: seed))) }

    private static func members(_ router: Router) -> [String: JSON] {
        // Float to Double through the shortest decimal, so that a saved router shows the digits of its float32 values.
        let rows = router.logits.map { row in JSON.array(row.map { .number(Double($0.description) ?? Double($0)) }) }
        var members: [String: JSON] = ["logits": .array(rows), "threshold": .number(router.threshold)]
        if router.period != 2 { members["period"] = .integer(router.period) }
        return members
    }

    /// Throws `incompatible` when the router has other columns than the model has sub-layers.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first else { return }
        let sublayers = layout.sites(.attention, .mlp).count
        guard layout.blockCount > 0, sublayers > 0 else {
            throw DiffError(.incompatible, "a \(layout.family) model has no blocks to cache")
        }
        guard !layout.traits.contains(.variesShapes) else {
            throw DiffError(
                .incompatible, "outputs of a \(layout.family) model have another size in every step: none can be reused"
            )
        }
        switch policy {
        case .learned(let router), .shuffled(let router, _):
            guard router.sublayers == sublayers else {
                throw DiffError(
                    .incompatible,
                    "the router has \(router.sublayers) columns, the model \(sublayers) (attention and MLP of "
                        + "\(layout.blockCount) blocks)")
            }
        case .none, .alternate, .interval, .random: return
        }
    }

    /// A cache for one session.
    public func makeAcceleration() -> any Acceleration { LayerCache(policy) }
}
