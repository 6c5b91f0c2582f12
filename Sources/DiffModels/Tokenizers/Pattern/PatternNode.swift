/// A pattern as its parts, before it is turned into instructions.
indirect enum PatternNode {
    enum Mode { case greedy, lazy, possessive }
    enum Anchor { case textStart, textEnd, textEndOrNewline, lineStart, lineEnd, wordBoundary, noWordBoundary }

    case set(ScalarSet)
    /// Characters in a row without regard to case: `ss` matches `ß` too, which is one character.
    case folded([UInt32])
    case sequence([PatternNode])
    case either([PatternNode])
    case loop(PatternNode, least: Int, most: Int?, Mode)
    case look(PatternNode, isNegative: Bool)
    case behind(PatternNode, isNegative: Bool)
    case atomic(PatternNode)
    case anchor(Anchor)
    /// A group that changes options, or that other engines number.
    case group(PatternNode, isNumbered: Bool)

    /// Whether it consumes nothing by its nature, or has a branch that does, so that repeating it is refused.
    var isAssertion: Bool {
        switch self {
        case .look, .behind, .anchor: true
        case .sequence(let nodes): nodes.count == 1 && nodes[0].isAssertion
        case .either(let branches): branches.contains { $0.isAssertion }
        default: false
        }
    }

    /// Whether a part of it, at any depth, is what `isWanted` says.
    func contains(_ isWanted: (PatternNode) -> Bool) -> Bool {
        if isWanted(self) { return true }
        switch self {
        case .set, .folded, .anchor: return false
        case .sequence(let nodes), .either(let nodes): return nodes.contains { $0.contains(isWanted) }
        case .loop(let body, _, _, _), .look(let body, _), .behind(let body, _), .atomic(let body), .group(let body, _):
            return body.contains(isWanted)
        }
    }

    /// How many characters it consumes: at least, and at most (nil: any number). Counts beyond `cap` are `cap` and nil.
    var width: (least: Int, most: Int?) {
        let cap = 1 << 24
        switch self {
        case .set: return (1, 1)
        // A character may stand for three, and three for one.
        case .folded(let scalars): return ((scalars.count &+ 2) / 3, min(cap, scalars.count &* 3))
        case .anchor, .look, .behind: return (0, 0)
        case .atomic(let body), .group(let body, _): return body.width
        case .sequence(let nodes):
            var (least, most): (Int, Int?) = (0, 0)
            for node in nodes {
                let width = node.width
                least = min(cap, least &+ width.least)
                most = Self.bounded(most, width.most, cap) { $0 &+ $1 }
            }
            return (least, most)
        case .either(let branches):
            var (least, most): (Int, Int?) = (cap, 0)
            for branch in branches {
                let width = branch.width
                least = min(least, width.least)
                most = Self.bounded(most, width.most, cap) { max($0, $1) }
            }
            return (least, most)
        case .loop(let body, let low, let high, _):
            let width = body.width
            return (
                min(cap, width.least &* min(low, cap)),
                width.most == 0 ? 0 : Self.bounded(width.most, high, cap) { $0 &* $1 }
            )
        }
    }

    private static func bounded(_ a: Int?, _ b: Int?, _ cap: Int, _ join: (Int, Int) -> Int) -> Int? {
        guard let a, let b else { return nil }
        let joined = join(a, b)
        return joined <= cap ? joined : nil
    }
}
