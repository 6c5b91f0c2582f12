public import DiffTensor

extension LayerCachePlan: WordedPlanEntry {
    /// The rules that begin a word, with their forms.
    public static let words = [
        (rule: "none", form: "none"), (rule: "alternate", form: "alternate"), (rule: "interval", form: "interval:N"),
        (rule: "random", form: "random:RATIO[:SEED]"),
    ]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        let arguments = word.arguments
        switch word.rule {
        case "interval":
            guard arguments.count == 1, let every = word.number(0), (1...1_000_000).contains(every) else {
                throw word.malformed("interval:N (N 1...1000000)")
            }
            self.init(.interval(every: every))
        case "random":
            guard (1...2).contains(arguments.count), let ratio = Double(arguments.at(0) ?? ""), (0...1).contains(ratio),
                let seed = arguments.count == 2 ? word.number(1) : Int(LayerCachePlan.defaultSeed),
                let seed = UInt32(exactly: seed)
            else { throw word.malformed("random:RATIO[:SEED] (ratio 0...1, seed 0...\(UInt32.max))") }
            self.init(.random(ratio: ratio, seed: UInt64(seed)))
        default:
            guard arguments.isEmpty else { throw word.malformed("\(word.rule) alone") }
            self.init(word.rule == "alternate" ? .alternate : .none)
        }
    }
}
