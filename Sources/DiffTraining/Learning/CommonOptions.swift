import DiffCheckpoint
import DiffTensor

/// Options that several trainings have, each with its own default.
extension OptionSpec {
    static func steps(_ steps: Int) -> OptionSpec {
        OptionSpec("steps", .integer(1...100_000_000), default: .integer(steps), "Steps of training.")
    }

    static func batch(_ batch: Int) -> OptionSpec {
        OptionSpec("batch", .integer(1...65_536), default: .integer(batch), "Samples of a step.")
    }

    static func labelDropout(_ share: Double) -> OptionSpec {
        OptionSpec(
            "label_dropout", .number(0...1), default: .number(share), "Share of the labels replaced by the null class.")
    }

    static func averageDecay(_ decay: Double) -> OptionSpec {
        OptionSpec(
            "average_decay", .number(0...1), default: .number(decay), "Decay of the moving average of what is learned.")
    }

    static func clip(_ norm: Double) -> OptionSpec {
        OptionSpec(
            "clip", .number(1e-12...1e12), default: .number(norm),
            "The norm that all gradients are scaled down to together.")
    }

    static func seed(_ seed: UInt64 = 0) -> OptionSpec {
        OptionSpec(
            "seed", .integer(0...Int.max), default: .integer(Int(truncatingIfNeeded: seed)),
            "Where random numbers come from.")
    }

    static func recompute(_ recomputes: Bool) -> OptionSpec {
        OptionSpec(
            "recompute", .flag, default: .bool(recomputes),
            "Blocks are computed again in the backward pass instead of keeping their activations.")
    }

    /// A number, or one at the first step and one at the last.
    static func ends(
        _ name: String, _ range: ClosedRange<Double>, _ ends: PruningSettings.Ends, _ summary: String
    ) -> OptionSpec {
        OptionSpec(name, .either([.number(range), .list(.number(range), 2...2)]), default: ends.json, summary)
    }
}

extension Options {
    /// What an option of ``OptionSpec/ends(_:_:_:_:)`` says.
    func ends(_ name: String) throws(DiffError) -> PruningSettings.Ends {
        let values: [Double] = try get(name)
        guard let first = values.first, let last = values.last else {
            throw error(name, "expected a number or [first, last]")
        }
        return PruningSettings.Ends(first, last)
    }

    /// Pairs of whole numbers.
    func pairs(_ name: String, because reason: String) throws(DiffError) -> [(Int, Int)] {
        let values: [[Int]] = try needed(name, because: reason)
        var pairs: [(Int, Int)] = []
        for pair in values.each { pairs.append((pair.first ?? 0, pair.last ?? 0)) }
        return pairs
    }
}
