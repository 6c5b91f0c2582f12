public import DiffCheckpoint
public import DiffTensor

/// How gates are learned. Defaults are those of the official TinyFusion script.
public struct PruningSettings: Sendable, Equatable {
    /// What learns beside the gates.
    public enum Update: String, Sendable, CaseIterable {
        /// Low-rank updates of every linear layer; the weights themselves stay.
        case lora
        /// All weights.
        case full
        /// Nothing.
        case gates
    }

    /// Steps of learning.
    public var steps = 10_009
    /// (kept, blocks) of consecutive groups.
    public var groups: [Pair]
    /// What learns beside the gates.
    public var update = Update.lora
    /// Rank of the low-rank updates, and their alpha.
    public var rank = 8, alpha = 16.0
    /// AdamW's learning rates.
    public var weightRate = 1e-4, gateRate = 1e-3
    /// Temperature and scaling of the gates at the first and at the last step, linear between.
    public var temperature = Ends(4, 0.1), scaling = Ends(100, 100)
    /// The norm that all gradients are scaled down to together.
    public var clip = 1.0
    /// Decay of the moving average that decides.
    public var averageDecay = 0.999
    /// Samples of a step.
    public var batch = 128
    /// Where random numbers come from.
    public var seed: UInt64 = 0
    /// Share of the labels replaced by the null class.
    public var labelDropout = 0.1
    /// Blocks are computed again in the backward pass instead of keeping their activations.
    public var recomputes = false

    /// A group: `kept` of `blocks` consecutive blocks.
    public struct Pair: Sendable, Equatable {
        /// Blocks kept.
        public var kept: Int
        /// Blocks of the group.
        public var blocks: Int

        /// N:M.
        public init(_ kept: Int, _ blocks: Int) { (self.kept, self.blocks) = (kept, blocks) }
    }

    /// A number at the first and at the last step.
    public struct Ends: Sendable, Equatable {
        /// At step 0.
        public var first: Double
        /// At the last step.
        public var last: Double

        /// From `first` to `last`.
        public init(_ first: Double, _ last: Double) { (self.first, self.last) = (first, last) }
        var schedule: Schedule { .linear(first, last) }
        var json: JSON { .array([.number(first), .number(last)]) }
    }

    /// The defaults, with these groups.
    public init(groups: [Pair]) { self.groups = groups }

    /// What settings may say.
    public static var options: [OptionSpec] {
        let usual = PruningSettings(groups: [])
        // Which numbers make a group is said where groups are made, for settings of a program too.
        return [
            OptionSpec(
                "groups", .list(.list(.integer(-Limits.layers...Limits.layers), 2...2), 0...Int.max),
                absent: "`pattern` is given",
                "[kept, blocks] of consecutive groups."),
            OptionSpec(
                "pattern", .text, absent: "`groups` is given",
                "One group for all of the network: \"1:2\" keeps one of every two blocks."),
            .steps(usual.steps),
            OptionSpec(
                "update", .cases(of: Update.self), default: .string(usual.update.rawValue),
                "What learns beside the gates: low-rank updates, all weights, or nothing."),
            OptionSpec("rank", .integer(1...4096), default: .integer(usual.rank), "Rank of the low-rank updates."),
            OptionSpec("alpha", .number(0...1e6), absent: "twice the rank", "Scale of the low-rank updates."),
            OptionSpec(
                "learning_rate", .number(0...1000), default: .number(usual.weightRate),
                "AdamW's learning rate of what learns beside the gates."),
            OptionSpec(
                "gate_rate", .number(0...1000), default: .number(usual.gateRate), "AdamW's learning rate of the gates."),
            .ends(
                "temperature", 1e-6...1e6, usual.temperature,
                "Temperature of the gates at the first and at the last step, linear between."),
            .ends(
                "scaling", 0...1e6, usual.scaling,
                "Scaling of the gates at the first and at the last step, linear between."),
            .clip(usual.clip), .averageDecay(usual.averageDecay), .batch(usual.batch), .seed(),
            .labelDropout(usual.labelDropout), .recompute(usual.recomputes),
        ]
    }

    /// Reads what was checked against ``options`` for a network of `depth` blocks. Throws `format`.
    public init(_ options: Options, depth: Int) throws(DiffError) {
        groups = try Self.groups(options, depth: depth)
        steps = try options.get("steps")
        update = try options.getCase("update")
        rank = try options.get("rank")
        alpha = try options.optional("alpha") ?? 2 * Double(rank)
        weightRate = try options.get("learning_rate")
        gateRate = try options.get("gate_rate")
        temperature = try options.ends("temperature")
        scaling = try options.ends("scaling")
        clip = try options.get("clip")
        averageDecay = try options.get("average_decay")
        batch = try options.get("batch")
        seed = try options.get("seed")
        labelDropout = try options.get("label_dropout")
        recomputes = try options.get("recompute")
    }

    /// The groups that `options` name.
    static func groups(_ options: Options, depth: Int) throws(DiffError) -> [Pair] {
        guard let pattern = try options.optional("pattern", as: String.self) else {
            return try options.pairs("groups", because: "gates need groups, or a pattern").map { Pair($0.0, $0.1) }
        }
        guard let (kept, blocks) = ratio(pattern), kept > 0, kept <= blocks, blocks <= depth,
            let count = Checked.divide(depth, blocks), count &* blocks == depth
        else {
            throw options.error("pattern", "\"\(pattern)\" is not an N:M that \(depth) blocks can be cut into")
        }
        return Indices(below: count).map { _ in Pair(kept, blocks) }
    }

    /// The numbers of a text such as "1:2"; nil for other texts.
    private static func ratio(_ text: String) -> (Int, Int)? {
        var numbers: [[UInt8]] = [[]]
        for byte in Array(text.utf8).each {
            if byte == UInt8(ascii: ":") {
                numbers.append([])
            } else {
                numbers.update(at: numbers.count &- 1) { $0.append(byte) }
            }
        }
        guard numbers.count == 2, let first = Checked.decimal(numbers.at(0) ?? []),
            let second = Checked.decimal(numbers.at(1) ?? [])
        else { return nil }
        return (first, second)
    }

    /// What a resumed run must have in common with the one it resumes.
    public var fingerprint: JSON {
        .object([
            "groups": .array(groups.map { .array([.integer($0.kept), .integer($0.blocks)]) }), "steps": .integer(steps),
            "update": .string(update.rawValue), "rank": .integer(rank), "alpha": .number(alpha),
            "learning_rate": .number(weightRate), "gate_rate": .number(gateRate), "temperature": temperature.json,
            "scaling": scaling.json, "clip": .number(clip), "average_decay": .number(averageDecay),
            "batch": .integer(batch), "seed": .string(String(seed)), "label_dropout": .number(labelDropout),
        ])
    }

    /// Which tensors of the network learn, by name.
    public func learns(_ name: String) -> Bool {
        switch update {
        case .lora: name.holds(".lora_")
        case .full: name != "pos_embed"
        case .gates: false
        }
    }
    /// The low-rank updates to load the network with.
    public var lora: LoRAOptions? { update == .lora ? LoRAOptions(rank: rank, alpha: alpha, seed: seed) : nil }
}
