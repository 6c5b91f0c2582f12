public import DiffCheckpoint
public import DiffTensor

/// Deep features kept, as data. JSON: `{"method": "deepcache", "interval": 3, "layers": 1}`.
public struct DeepCachePlan: PlanEntry, Equatable {
    /// The name in plans.
    public static let method = "deepcache"

    /// Calls from one full one to the next; 1 keeps nothing.
    public let interval: Int
    /// Layers on the way up that every call computes, counted from the end.
    public let layers: Int

    /// An entry of these numbers. Throws `invalidArgument` unless `interval` is 1...1000000 and `layers` 1 or more.
    public init(interval: Int, layers: Int = 1) throws(DiffError) {
        guard (1...1_000_000).contains(interval) else {
            throw DiffError(.invalidArgument, "an interval must be 1...1000000, found \(interval)")
        }
        guard (1...Limits.layers).contains(layers) else {
            throw DiffError(.invalidArgument, "layers must be 1...\(Limits.layers), found \(layers)")
        }
        (self.interval, self.layers) = (interval, layers)
    }

    /// What an entry may say.
    public static let options = [
        OptionSpec(
            "interval", .integer(1...1_000_000), default: 3,
            "Calls from one full one to the next; 1 computes everything."),
        OptionSpec(
            "layers", .integer(1...Limits.layers), default: 1,
            "Layers on the way up, counted from the end, that every call computes."),
    ]

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        try self.init(interval: options.get("interval"), layers: options.get("layers"))
    }

    /// The entry with its `method`.
    public var json: JSON {
        .object([
            "method": .string(Self.method), "interval": .integer(interval), "layers": .integer(layers),
        ])
    }

    /// Throws `incompatible` when the model has no deep part of that kind.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first else { return }
        _ = try DeepPart(layout, layers: layers)
    }

    /// The cache for one session.
    public func makeAcceleration() -> any Acceleration { DeepCache(interval: interval, layers: layers) }
}

extension DeepCachePlan: WordedPlanEntry {
    /// The rule that begins a word, with its form.
    public static let words = [(rule: "deepcache", form: "deepcache:N[:LAYERS]")]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        guard (1...2).contains(word.arguments.count), let interval = word.number(0),
            let layers = word.arguments.count == 2 ? word.number(1) : 1
        else { throw word.malformed("deepcache:N[:LAYERS], such as deepcache:3") }
        try self.init(interval: interval, layers: layers)
    }
}
