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

    /// What settings may say, for a network of `depth` blocks.
    public static func options(depth: Int = Limits.layers) -> [OptionSpec] {
        [
            OptionSpec("rule", .cases(of: Rule.self), "The rule by which blocks are kept."),
            OptionSpec(
                "keep", .list(.integer(0...max(0, depth &- 1)), 0...Int.max), absent: "needed by the rule index",
                "Blocks that the rule index keeps."),
            OptionSpec(
                "keep_count", .integer(1...max(1, depth)), absent: "half of the blocks",
                "How many the other rules keep."),
            OptionSpec(
                "calibration", .cases(of: Calibration.self), absent: "noised for sensitivity, else official",
                "States and timesteps that blocks are measured at."),
            OptionSpec(
                "steps", .integer(1...1_000_000), default: .integer(8), "Batches that blocks are measured on."),
            .batch(16), .seed(),
        ]
    }

    /// Reads what was checked against ``options(depth:)`` for a network of `depth` blocks. Throws `format`.
    public init(_ options: Options, depth: Int) throws(DiffError) {
        rule = try options.getCase("rule")
        keep =
            try rule == .index
            ? options.needed("keep", because: "the rule index keeps these") : options.optional("keep") ?? []
        keepCount = try rule == .index ? keep.count : options.optional("keep_count") ?? max(1, depth / 2)
        calibration = try options.optionalCase("calibration") ?? (rule == .sensitivity ? .noised : .official)
        steps = try options.get("steps")
        batch = try options.get("batch")
        seed = try options.get("seed")
        if !measures { steps = 1 }
    }

    /// Whether the rule looks at data.
    public var measures: Bool { [.similarity, .change, .sensitivity].contains(rule) }

    /// What a resumed run must have in common with the one it resumes.
    public var fingerprint: JSON {
        .object([
            "rule": .string(rule.rawValue), "keep_count": .integer(keepCount),
            "keep": .array(keep.map { .integer($0) }),
            "calibration": .string(calibration.rawValue), "batch": .integer(batch), "seed": .string(String(seed)),
        ])
    }
}
