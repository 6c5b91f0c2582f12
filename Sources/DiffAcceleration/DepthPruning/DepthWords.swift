import DiffCheckpoint
public import DiffTensor

extension DepthPlan: WordedPlanEntry {
    /// The rules that begin a word, with their forms.
    public static let words = [(rule: "depth", form: "depth:BLOCKS (such as 0,2,5-8)")]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        guard word.arguments.count == 1, let keep = Self.blocks(word.arguments.at(0) ?? "") else {
            throw word.malformed("depth:BLOCKS, such as depth:0,2,5-8")
        }
        try self.init(keep: keep)
    }

    /// Numbers and ranges between commas; nil for anything else.
    private static func blocks(_ text: String) -> [Int]? {
        var blocks: [Int] = []
        for part in text.pieces(at: ",").each {
            var ends: [Int] = []
            for end in part.pieces(at: "-").each { ends.append(end.naturalNumber ?? -1) }
            guard ends.count <= 2, let first = ends.at(0), let last = ends.at(1) ?? ends.at(0), first >= 0,
                last >= first, last <= Limits.layers
            else { return nil }
            for offset in Indices(below: last &- first &+ 1) { blocks.append(first &+ offset) }
            guard blocks.count <= Limits.layers else { return nil }
        }
        return blocks
    }
}
