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

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let choices = ["learned", "none", "alternate", "interval", "random"]
        let hasRouter = json.has("logits") || json.has("router")
        let name = try json.optionalString("policy", oneOf: choices) ?? "learned"
        // Released router files carry many other fields; only entries written as plans are held to known names.
        if json.has("method") {
            try json.allow(only: [
                "method", "policy", "logits", "router", "threshold", "period", "interval", "ratio", "seed", "comment",
            ])
        }
        switch name {
        case "none": policy = .none
        case "alternate": policy = .alternate
        case "interval": policy = .interval(every: try json.integer("interval", in: 1...1_000_000))
        case "random":
            let seed = UInt64(
                truncatingIfNeeded: try json.integer("seed", in: 0...Int(UInt32.max), default: Int(Self.defaultSeed)))
            policy =
                hasRouter
                ? .shuffled(try Self.router(json, files), seed: seed)
                : .random(ratio: try json.number("ratio", in: 0...1), seed: seed)
        default: policy = .learned(try Self.router(json, files))
        }
    }

    private static func router(
        _ json: JSONObject, _ files: (String) throws(DiffError) -> JSON
    ) throws(DiffError) -> Router {
        var source = json
        if let file = try json.optionalString("router") {
            source = try JSONObject(files(file), source: file)
        }
        let official = try source.optionalNumber("official_threshold", in: 0...1)
        let own = try source.optionalNumber("threshold", in: 0...1)
        let threshold = try json.optionalNumber("threshold", in: 0...1) ?? own ?? official ?? defaultThreshold
        let ownPeriod = try source.integer("period", in: 2...1000, default: 2)
        let period = try json.integer("period", in: 2...1000, default: ownPeriod)
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
