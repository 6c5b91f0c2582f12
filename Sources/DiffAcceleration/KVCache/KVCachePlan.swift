public import DiffCheckpoint
public import DiffTensor

/// The delayed KV cache (dKV-Cache) and Fast-dLLM's caches as data. JSON: `{"method": "dkv", "variant": "decode", "refresh": 8}`.
///
/// | variant | computes, apart from refreshing steps | other members |
/// | --- | --- | --- |
/// | `decode` | what is masked and what was revealed a step ago | `refresh`; Dream: `shift` |
/// | `greedy` | what was and will be revealed and a window around it (LLaDA, random order) | `refresh`, `window` |
/// | `prefill` | all but the prompt, which is never refreshed (Dream) | |
/// | `pd` | as `decode`, but the prompt is never refreshed (Dream) | `refresh`, `shift` |
/// | `prefix` | from the block on to the end (Fast-dLLM) | |
/// | `dual` | the block (Fast-dLLM) | |
public struct KVCachePlan: BlockwisePlanEntry, Equatable {
    /// The name in plans.
    public static let method = "dkv"
    /// Steps from one refresh to the next unless a plan says otherwise: the authors' setting for 8B models.
    public static let defaultRefresh = 8

    /// The published rules.
    public enum Variant: String, Sendable, CaseIterable {
        case decode, greedy, prefill, pd, prefix, dual
    }

    /// When a position of Dream, whose results decide the next one, counts as finished.
    public enum Shift: String, Sendable, CaseIterable {
        /// When the next position is decided.
        case un
        /// When both are.
        case unRight = "un_right"
    }

    /// Which rule.
    public let variant: Variant
    /// Steps from one that computes all positions to the next; 1: every step does, which is plain decoding.
    public let refresh: Int
    /// Positions added around each position that will be revealed (`greedy`).
    public let window: Int
    /// When a position counts as finished (`decode` and `pd` on Dream).
    public let shift: Shift

    /// An entry of these settings. Throws `invalidArgument`.
    public init(
        _ variant: Variant, refresh: Int = KVCachePlan.defaultRefresh, window: Int = 0, shift: Shift = .un
    ) throws(DiffError) {
        guard (1...1_000_000).contains(refresh), (0...1_000_000).contains(window) else {
            throw DiffError(
                .invalidArgument, "refresh must be 1 or more and window 0 or more, found \(refresh) and \(window)")
        }
        (self.variant, self.refresh, self.window, self.shift) = (variant, refresh, window, shift)
    }

    /// What an entry may say; which variant has which of them says `members(_:)`.
    public static let options = [
        OptionSpec("variant", .cases(of: Variant.self), "Which positions a pass computes."),
        OptionSpec(
            "refresh", .integer(1...1_000_000), default: .integer(defaultRefresh),
            "Of decode, greedy and pd: steps from one that computes everything to the next; 1: plain decoding."),
        OptionSpec(
            "window", .integer(0...1_000_000), default: .integer(0),
            "Of greedy: masked positions computed around each that will be revealed."),
        OptionSpec(
            "shift", .cases(of: Shift.self), default: .string(Shift.un.rawValue),
            "Of decode and pd on Dream: when a position counts as decided."),
    ]

    /// Options that a variant has beside `variant`.
    static func members(_ variant: Variant) -> [String] {
        switch variant {
        case .decode, .pd: ["refresh", "shift"]
        case .greedy: ["refresh", "window"]
        case .prefill, .prefix, .dual: []
        }
    }

    /// Reads the entry. Throws `format` naming the member.
    public init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        let variant = try options.getCase("variant", of: Variant.self)
        let members = ["variant"] + Self.members(variant)
        for option in Self.options.each where options.has(option.name) && !members.contains(option.name) {
            throw options.error(option.name, "the variant \"\(variant.rawValue)\" has no such option")
        }
        try self.init(
            variant, refresh: options.get("refresh"), window: options.get("window"), shift: options.getCase("shift"))
    }

    /// The entry with its `method`; reading it gives an equal entry.
    public var json: JSON {
        var members: [String: JSON] = ["method": .string(Self.method), "variant": .string(variant.rawValue)]
        let known = Self.members(variant)
        if known.contains("refresh") { members["refresh"] = .integer(refresh) }
        if known.contains("window") { members["window"] = .integer(window) }
        if known.contains("shift") { members["shift"] = .string(shift.rawValue) }
        return .object(members)
    }

    /// Whether the rule is one of Fast-dLLM's, which keep a block's surroundings while the block is decoded.
    public var isBlockwise: Bool { variant == .prefix || variant == .dual }

    /// Throws `incompatible` when the model stores no keys and values, or when the rule is for models of the other kind.
    public func check(_ layouts: [SiteLayout]) throws(DiffError) {
        var wanted: [NetworkTrait] = [.storesKeysAndValues]
        switch variant {
        case .decode, .prefix, .dual: break
        case .greedy: wanted.append(.predictsInPlace)
        case .prefill, .pd: wanted.append(.predictsNext)
        }
        for layout in layouts.each {
            guard let missing = layout.firstMissing(of: wanted) else { continue }
            throw DiffError(
                .incompatible,
                "the variant \"\(variant.rawValue)\" is for a model that \(missing); this is a \(layout.family) model")
        }
    }

    /// The cache for one session.
    public func makeAcceleration() -> any Acceleration { KVCache(self) }
}
