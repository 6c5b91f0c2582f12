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

    /// Reads `json` for a network of `depth` blocks: `groups` is a list of [kept, blocks], or `pattern` a text such as "1:2" that is
    /// repeated. Throws `format`, `invalidArgument`.
    public init(_ json: JSONObject, depth: Int) throws(DiffError) {
        groups = try Self.groups(json, depth: depth)
        steps = try json.integer("steps", in: 1...100_000_000, default: steps)
        let name = try json.optionalString("update", oneOf: Update.allCases.map(\.rawValue))
        update = name.flatMap(Update.init) ?? update
        rank = try json.integer("rank", in: 1...4096, default: rank)
        alpha = try json.number("alpha", in: 0...1e6, default: 2 * Double(rank))
        weightRate = try json.number("learning_rate", in: 0...1000, default: weightRate)
        gateRate = try json.number("gate_rate", in: 0...1000, default: gateRate)
        temperature = try Self.ends(json, "temperature", 1e-6...1e6, temperature)
        scaling = try Self.ends(json, "scaling", 0...1e6, scaling)
        clip = try json.number("clip", in: 1e-12...1e12, default: clip)
        averageDecay = try json.number("average_decay", in: 0...1, default: averageDecay)
        batch = try json.integer("batch", in: 1...65_536, default: batch)
        seed = try json.seed()
        labelDropout = try json.number("label_dropout", in: 0...1, default: labelDropout)
        recomputes = try json.bool("recompute", default: recomputes)
    }

    /// Names that ``init(_:depth:)`` reads.
    public static let names = [
        "groups", "pattern", "steps", "update", "rank", "alpha", "learning_rate", "gate_rate", "temperature", "scaling",
        "clip",
        "average_decay", "batch", "seed", "label_dropout", "recompute",
    ]

    /// `[a, b]` or one number for both.
    static func ends(
        _ json: JSONObject, _ name: String, _ range: ClosedRange<Double>, _ fallback: Ends
    ) throws(DiffError) -> Ends {
        if let one = json.value(name)?.asDouble {
            guard range.contains(one) else { throw json.error(name, "\(one) is outside \(range)") }
            return Ends(one, one)
        }
        let both = try json.numbers(name, in: range, default: [fallback.first, fallback.last])
        guard let first = both.first, let last = both.last, both.count == 2 else {
            throw json.error(name, "expected a number or [first, last]")
        }
        return Ends(first, last)
    }

    /// The groups that `json` names.
    static func groups(_ json: JSONObject, depth: Int) throws(DiffError) -> [Pair] {
        if let pattern = try json.optionalString("pattern") {
            guard let (kept, blocks) = ratio(pattern), kept > 0, kept <= blocks, blocks <= depth,
                let count = Checked.divide(depth, blocks), count &* blocks == depth
            else {
                throw json.error("pattern", "\"\(pattern)\" is no N:M that \(depth) blocks can be cut into")
            }
            return Indices(below: count).map { _ in Pair(kept, blocks) }
        }
        var groups: [Pair] = []
        for entry in try json.array("groups").each {
            guard case .array(let numbers) = entry, numbers.count == 2, let kept = numbers.first?.asDouble,
                let blocks = numbers.last?.asDouble, let k = Checked.integer(kept), let b = Checked.integer(blocks)
            else { throw json.error("groups", "expected pairs [kept, blocks]") }
            groups.append(Pair(k, b))
        }
        return groups
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

    /// What a resumed run must have in common with the one it goes on from.
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
