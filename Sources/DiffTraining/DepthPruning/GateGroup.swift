public import DiffTensor

/// A run of consecutive blocks of which some are kept: "N:M" in the field's words, N of M.
///
/// Source: TinyFusion (arXiv 2412.01199), section 3.
public struct GateGroup: Sendable, Equatable {
    /// Blocks kept, and blocks in the group.
    public let kept: Int, blocks: Int
    /// All ways to keep them, in lexicographic order of the kept positions: a row of `blocks` flags each.
    public let candidates: [[Bool]]

    /// More candidates than this are refused: 7 of 14 blocks have 3432.
    public static let maxCandidates = 20_000

    /// A group that keeps `kept` of `blocks`. Throws `invalidArgument`.
    public init(kept: Int, blocks: Int) throws(DiffError) {
        guard (1...4096).contains(blocks), (1...blocks).contains(kept) else {
            throw DiffError(.invalidArgument, "a group cannot keep \(kept) of \(blocks) blocks")
        }
        var count = 1.0
        for index in Indices(below: min(kept, blocks &- kept)) {
            count = count * Double(blocks &- index) / Double(index &+ 1)
        }
        guard count <= Double(Self.maxCandidates) else {
            throw DiffError(
                .invalidArgument, "\(kept) of \(blocks) blocks can be kept in more than \(Self.maxCandidates) ways")
        }
        (self.kept, self.blocks) = (kept, blocks)
        candidates = Self.combinations(kept, blocks)
    }

    private static func combinations(_ kept: Int, _ blocks: Int) -> [[Bool]] {
        var rows: [[Bool]] = []
        var chosen = Array(Indices(below: kept))
        while true {
            var row = [Bool](repeating: false, count: max(0, blocks))
            for position in chosen.each { row.put(true, at: position) }
            rows.append(row)
            // The last position that can still move to the right moves, those after it follow closely.
            var last = kept &- 1
            while let position = chosen.at(last), position >= blocks &- kept &+ last { last &-= 1 }
            guard let position = chosen.at(last) else { return rows }
            for index in Indices(below: kept &- last) { chosen.put(position &+ 1 &+ index, at: last &+ index) }
        }
    }

    /// Groups over a network of `depth` blocks. Throws `invalidArgument` unless they cover it exactly.
    public static func groups(_ pairs: [(kept: Int, blocks: Int)], depth: Int) throws(DiffError) -> [GateGroup] {
        for pair in pairs.each where pair.blocks < 1 || pair.kept < 1 || pair.kept > pair.blocks {
            throw DiffError(.invalidArgument, "a group cannot keep \(pair.kept) of \(pair.blocks) blocks")
        }
        // Before any candidate is listed: thousands of large groups would fill the memory.
        let covered = pairs.reduce(0) { Checked.sum($0, $1.blocks) }
        guard covered == depth, !pairs.isEmpty else {
            throw DiffError(.invalidArgument, "the groups hold \(covered) blocks, the network has \(depth)")
        }
        var groups: [GateGroup] = []
        for pair in pairs.each { groups.append(try GateGroup(kept: pair.kept, blocks: pair.blocks)) }
        return groups
    }
}
