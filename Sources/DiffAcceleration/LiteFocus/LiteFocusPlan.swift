public import DiffCheckpoint
public import DiffTensor

/// LiteFocus as data. JSON: `{"method": "litefocus", "same_frequency": true, "cross_frequency": true, "ratio": 0.1, "levels": [1],
/// "scope": "official", "deduplicate": false, "keys": "call", "window": 0}`, all of it with these defaults, a `seed`, and an `early_ratio` for the first
/// `early_steps` of the steps.
public struct LiteFocusPlan: PlanEntry, Equatable {
    /// The name in plans.
    public static let method = "litefocus"
    /// Share of the tokens that every query sees in the authors' results.
    public static let defaultRatio = 0.1
    /// Share of the steps that an `early_ratio` is for.
    public static let defaultEarlySteps = 0.25

    /// Which self-attentions of a level are sparse.
    public enum Scope: String, Sendable, CaseIterable {
        /// Those that the authors' code changes: the first block of each of the first three transformers after a resnet.
        case official
        /// All of them.
        case all
    }

    /// How long a set of keys that all queries see is kept.
    public enum Keys: String, Sendable, CaseIterable {
        /// For one attention of one network call, as the authors do.
        case call
        /// For all attentions of a step, those of as many tokens.
        case step
        /// For all attentions of a run, those of as many tokens.
        case run
    }

    /// Whether a query sees the tokens of its own frequency, at all times.
    public let sameFrequency: Bool
    /// Whether it sees a random share of all tokens besides.
    public let crossFrequency: Bool
    /// That share, 0...1.
    public let ratio: Double
    /// The share in the first steps, 0...1: those when the most is decided. Nil: no other.
    public let earlyRatio: Double?
    /// How many of the steps are the first ones, 0...1.
    public let earlySteps: Double
    /// Levels of the network, 0 the finest, whose self-attention is sparse.
    public let levels: [Int]
    /// Which self-attentions of these levels are.
    public let scope: Scope
    /// Whether a random token that a query sees by its frequency or the window too counts once; the authors' code counts it twice.
    public let deduplicates: Bool
    /// How long a random set is kept.
    public let keys: Keys
    /// Time steps to either side of a query whose tokens, of all frequencies, it sees besides; 0, the authors' code: none. They are those of
    /// the level's own grid: 0.08 s on level 1 of AudioLDM 2, twice that on each further one.
    public let window: Int
    /// What sets are drawn from; nil: the seed of the request.
    public let seed: UInt64?

    /// An entry of these settings. Throws `invalidArgument` for settings under which queries see nothing, and for levels that no network
    /// has.
    public init(
        sameFrequency: Bool = true, crossFrequency: Bool = true, ratio: Double = LiteFocusPlan.defaultRatio,
        levels: [Int] = [1], scope: Scope = .official, deduplicates: Bool = false, keys: Keys = .call,
        seed: UInt64? = nil, earlyRatio: Double? = nil, earlySteps: Double = LiteFocusPlan.defaultEarlySteps,
        window: Int = 0
    ) throws(DiffError) {
        guard window >= 0 else {
            throw DiffError(.invalidArgument, "window must be 0 (none) or more time steps, found \(window)")
        }
        guard sameFrequency || crossFrequency || window > 0 else {
            throw DiffError(
                .invalidArgument,
                "same_frequency and cross_frequency are both off and window is 0: queries see nothing; leave one of them on, "
                    + "give a window, or leave the method out")
        }
        let shares = [("ratio", ratio), ("early_ratio", earlyRatio ?? 0), ("early_steps", earlySteps)]
        for (name, value) in shares.each where !(0...1).contains(value) {
            throw DiffError(.invalidArgument, "\(name) must be a number in 0...1, found \(value)")
        }
        guard sameFrequency || window > 0 || (ratio > 0 && earlyRatio != 0) else {
            let name = ratio > 0 ? "early_ratio" : "ratio"
            throw DiffError(
                .invalidArgument,
                "\(name) is 0 and same_frequency off: queries see nothing; give a share above 0 or a window, or turn "
                    + "same_frequency on")
        }
        guard !levels.isEmpty, levels.each.allSatisfy({ (0..<8).contains($0) }) else {
            throw DiffError(.invalidArgument, "levels must name one level or more in 0...7")
        }
        (self.sameFrequency, self.crossFrequency, self.ratio) = (sameFrequency, crossFrequency, ratio)
        (self.earlyRatio, self.earlySteps) = (earlyRatio, earlySteps)
        (self.levels, self.scope, self.deduplicates, self.keys, self.seed) = (levels, scope, deduplicates, keys, seed)
        self.window = window
    }

    /// What an entry may say.
    public static let options = [
        OptionSpec(
            "same_frequency", .flag, default: true, "Whether a query sees the tokens of its own frequency at all times."
        ),
        OptionSpec(
            "cross_frequency", .flag, default: true, "Whether every query sees a random share of all tokens besides."),
        OptionSpec("ratio", .number(0...1), default: .number(defaultRatio), "That share."),
        OptionSpec("early_ratio", .number(0...1), absent: "`ratio`", "The share in the first steps."),
        OptionSpec(
            "early_steps", .number(0...1), default: .number(defaultEarlySteps),
            "How many of the steps are the first ones, where there is an early_ratio."),
        OptionSpec(
            "levels", .list(.integer(0...7), 1...8), default: .array([.integer(1)]),
            "Levels of the network whose self-attention is sparse, 0 the finest."),
        OptionSpec(
            "scope", .cases(of: Scope.self), default: .string(Scope.official.rawValue),
            "Which self-attentions of these levels: the first block of the first three transformers after a resnet, as the authors "
                + "have it, or all."),
        OptionSpec(
            "deduplicate", .flag, default: false,
            "Whether a random token that a query sees by its frequency or the window too counts once; the authors count it "
                + "twice."),
        OptionSpec(
            "keys", .cases(of: Keys.self), default: .string(Keys.call.rawValue),
            "What a random share is drawn for: each attention of each call, each step, or the run."),
        OptionSpec(
            "window", .integer(0...Int.max), default: .integer(0),
            "Time steps of the level's grid to either side of a query whose tokens of all frequencies it sees besides; 0 is none. "
                + "On level 1 of AudioLDM 2 a step is 0.08 s."),
        OptionSpec(
            "seed", .integer(0...Int.max), absent: "that of the request", "What random shares are drawn from."),
    ]

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        let (same, cross): (Bool, Bool) = (try options.get("same_frequency"), try options.get("cross_frequency"))
        let (ratio, levels): (Double, [Int]) = (try options.get("ratio"), try options.get("levels"))
        do throws(DiffError) {
            try self.init(
                sameFrequency: same, crossFrequency: cross, ratio: ratio, levels: levels,
                scope: options.getCase("scope"), deduplicates: options.get("deduplicate"),
                keys: options.getCase("keys"),
                seed: options.optional("seed"), earlyRatio: options.optional("early_ratio"),
                earlySteps: options.get("early_steps"), window: options.get("window"))
        } catch {
            // Said of the members of this object.
            throw error.code == .invalidArgument ? DiffError(.format, "\(json.place): \(error.message)") : error
        }
    }

    /// The entry with its `method`; reading it gives an equal entry.
    public var json: JSON {
        var members: [String: JSON] = [
            "method": .string(Self.method), "same_frequency": .bool(sameFrequency),
            "cross_frequency": .bool(crossFrequency), "ratio": .number(ratio),
            "levels": .array(levels.each.map { .integer($0) }), "scope": .string(scope.rawValue),
            "deduplicate": .bool(deduplicates), "keys": .string(keys.rawValue), "window": .integer(window),
        ]
        if let seed { members.put(seed.json, for: "seed") }
        if let earlyRatio {
            members.put(.number(earlyRatio), for: "early_ratio")
            members.put(.number(earlySteps), for: "early_steps")
        }
        return .object(members)
    }

    /// Throws `incompatible` when the network works on no grid of times and frequencies, or has no attention where the entry wants it.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first else { return }
        _ = try SparseSites(layout, self)
    }

    /// The method for one session.
    public func makeAcceleration() -> any Acceleration { LiteFocus(self) }
}

extension LiteFocusPlan: WordedPlanEntry {
    /// The rule that begins a word, with its form.
    public static let words = [(rule: "litefocus", form: "litefocus[:RATIO]")]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        guard word.arguments.count < 2, let ratio = word.arguments.at(0).map({ Double($0) }) ?? Self.defaultRatio,
            (0...1).contains(ratio)
        else { throw word.malformed("litefocus[:RATIO], such as litefocus:0.1") }
        try self.init(ratio: ratio)
    }
}
