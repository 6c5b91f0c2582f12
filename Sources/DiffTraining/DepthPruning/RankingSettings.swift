public import DiffCheckpoint
public import DiffTensor

/// A rule that decides which blocks to keep without learning: what learned pruning is compared with.
public struct RankingSettings: Sendable, Equatable {
    /// The rules.
    public enum Rule: String, Sendable, CaseIterable {
        /// A given list.
        case index
        /// The first block of every pair in the first half, the last one in the second half (BK-SDM; the official code's oracle).
        case pairs
        /// Blocks that turn the stream least are removed (ShortGPT's block influence).
        case similarity
        /// Blocks that change the stream least are removed (after Flux-lite).
        case change
        /// Blocks whose removal raises the loss least are removed.
        case sensitivity
        /// Drawn from the seed.
        case random
    }

    /// States and timesteps that blocks are measured at.
    public enum Calibration: String, Sendable, CaseIterable {
        /// Clean latents and t in 0 ..< 250, as the official script has them by a quirk.
        case official
        /// Noised latents at timesteps of the whole process.
        case noised
    }

    /// The rule.
    public var rule: Rule
    /// Blocks that are kept; of `index` the list decides.
    public var keepCount: Int
    /// Of `index`: the blocks kept.
    public var keep: [Int] = []
    /// States and timesteps.
    public var calibration = Calibration.official
    /// Batches measured (1 where the rule needs no measure), and samples of one.
    public var steps = 8, batch = 16
    /// Where random numbers come from.
    public var seed: UInt64 = 0

    /// The defaults of `rule`.
    public init(_ rule: Rule, keepCount: Int) {
        (self.rule, self.keepCount) = (rule, keepCount)
        if !measures { steps = 1 }
    }

    /// Reads `json` for a network of `depth` blocks. Throws `format`, `invalidArgument`.
    public init(_ json: JSONObject, depth: Int) throws(DiffError) {
        let name = try json.optionalString("rule", oneOf: Rule.allCases.map(\.rawValue)) ?? ""
        guard let rule = Rule(rawValue: name) else { throw json.error("rule", "no rule") }
        self.rule = rule
        keep = try json.integers("keep", in: 0...max(0, depth &- 1), default: rule == .index ? nil : [])
        keepCount =
            rule == .index
            ? keep.count : try json.integer("keep_count", in: 1...max(1, depth), default: max(1, depth / 2))
        let kind = try json.optionalString("calibration", oneOf: Calibration.allCases.map(\.rawValue))
        calibration = kind.flatMap(Calibration.init) ?? (rule == .sensitivity ? .noised : .official)
        steps = try json.integer("steps", in: 1...1_000_000, default: 8)
        batch = try json.integer("batch", in: 1...65_536, default: batch)
        seed = try json.seed()
        if !measures { steps = 1 }
    }

    /// Names that ``init(_:depth:)`` reads.
    public static let names = ["rule", "keep", "keep_count", "calibration", "steps", "batch", "seed"]

    /// Whether the rule looks at data.
    public var measures: Bool { [.similarity, .change, .sensitivity].contains(rule) }

    /// What a resumed run must have in common with the one it goes on from.
    public var fingerprint: JSON {
        .object([
            "rule": .string(rule.rawValue), "keep_count": .integer(keepCount),
            "keep": .array(keep.map { .integer($0) }),
            "calibration": .string(calibration.rawValue), "batch": .integer(batch), "seed": .string(String(seed)),
        ])
    }
}
