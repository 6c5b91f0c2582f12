import DiffCheckpoint
public import DiffTensor

/// Plans of one method written as a word, where a file would be too much: `alternate`, `interval:3`, `dkv:decode:8`.
extension Plan {
    /// The forms of all words, as help texts show them.
    public static let wordForms =
        "none, alternate, interval:N, random:RATIO[:SEED], dkv:VARIANT[:REFRESH[:WINDOW]], depth:BLOCKS (such as 0,2,5-8), "
        + "code[:DRAFT_SCALES]"

    private static let names = ["none", "alternate", "interval", "random", "dkv", "depth", "code"]

    /// The plan that `word` writes out. Throws `invalidArgument`, saying which form is right or which rule may have been meant.
    public init(word: String) throws(DiffError) {
        guard let entry = try Self.entry(word) else {
            throw DiffError(.invalidArgument, "\"\(word)\": \(Self.unknown(word))")
        }
        self.init([entry])
    }

    /// What to say of a word that begins like none.
    public static func unknown(_ word: String) -> String {
        "no rule of that name\(Spelling.suggestion(for: parts(word).at(0) ?? "", among: names)) (rules: \(wordForms))"
    }

    /// Whether `text` begins as a word does, whatever follows.
    public static func isWord(_ text: String) -> Bool { names.each.contains(parts(text).at(0) ?? "") }

    /// What stands between colons.
    private static func parts(_ text: String) -> [String] {
        guard text.utf8.count <= 4096 else { return [] }
        return text.pieces(at: ":")
    }

    /// The entry that `word` writes out; nil when it begins like none.
    private static func entry(_ word: String) throws(DiffError) -> (any PlanEntry)? {
        let parts = parts(word)
        var arguments: [String] = []
        for (index, part) in parts.numbered where index > 0 { arguments.append(part) }
        let rule = parts.at(0) ?? ""
        switch rule {
        case "none" where arguments.isEmpty: return LayerCachePlan(.none)
        case "alternate" where arguments.isEmpty: return LayerCachePlan(.alternate)
        case "none", "alternate": throw malformed(word, "\(rule) alone")
        case "interval":
            guard arguments.count == 1, let every = number(arguments, 0), (1...1_000_000).contains(every) else {
                throw malformed(word, "interval:N (N 1...1000000)")
            }
            return LayerCachePlan(.interval(every: every))
        case "random":
            guard (1...2).contains(arguments.count), let ratio = Double(arguments.at(0) ?? ""), (0...1).contains(ratio),
                let seed = arguments.count == 2 ? number(arguments, 1) : Int(LayerCachePlan.defaultSeed),
                let seed = UInt32(exactly: seed)
            else { throw malformed(word, "random:RATIO[:SEED] (ratio 0...1, seed 0...\(UInt32.max))") }
            return LayerCachePlan(.random(ratio: ratio, seed: UInt64(seed)))
        case "dkv": return try cache(word, arguments)
        case "depth":
            guard arguments.count == 1, let keep = blocks(arguments.at(0) ?? "") else {
                throw malformed(word, "depth:BLOCKS, such as depth:0,2,5-8")
            }
            return try DepthPlan(keep: keep)
        case "code":
            guard arguments.count <= 1 else { throw malformed(word, "code[:DRAFT_SCALES]") }
            guard !arguments.isEmpty else { return CollaborativePlan() }
            guard let scales = number(arguments, 0), (1...1000).contains(scales) else {
                throw malformed(word, "code[:DRAFT_SCALES] (scales 1...1000)")
            }
            return CollaborativePlan(draftScales: scales)
        default: return nil
        }
    }

    /// Caching of keys and values, written dkv:VARIANT[:REFRESH[:WINDOW]].
    private static func cache(_ word: String, _ arguments: [String]) throws(DiffError) -> KVCachePlan {
        let known = KVCachePlan.Variant.allCases.map(\.rawValue)
        let form = "dkv:VARIANT[:REFRESH[:WINDOW]] with one of \(known.joined(separator: ", "))"
        let name = arguments.at(0) ?? ""
        guard let variant = KVCachePlan.Variant(rawValue: name) else {
            throw malformed(word, form, Spelling.suggestion(for: name, among: known))
        }
        guard arguments.count <= 3 else { throw malformed(word, form) }
        let refresh = arguments.count > 1 ? number(arguments, 1) : KVCachePlan.defaultRefresh
        let window = arguments.count > 2 ? number(arguments, 2) : 0
        guard let refresh, let window, (1...1_000_000).contains(refresh), (0...1_000_000).contains(window) else {
            throw malformed(word, "\(form), refresh 1...1000000, window 0...1000000")
        }
        // Numbers that the variant does not read would have no effect.
        let members = KVCachePlan.members(variant)
        guard arguments.count < 2 || members.contains("refresh"), arguments.count < 3 || members.contains("window")
        else {
            let taken = members.each.filter { $0 != "shift" }
            throw malformed(word, "dkv:\(name)" + taken.map { "[:\($0.uppercased())]" }.joined())
        }
        return try KVCachePlan(variant, refresh: refresh, window: window)
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

    private static func number(_ arguments: [String], _ index: Int) -> Int? { arguments.at(index)?.naturalNumber }

    private static func malformed(_ word: String, _ form: String, _ suggestion: String = "") -> DiffError {
        DiffError(.invalidArgument, "\"\(word)\" is no plan: write \(form)\(suggestion)")
    }
}

extension Plan: CustomStringConvertible {
    /// The names of its methods: `l2c + depth`; `plain model` for none.
    public var description: String {
        entries.isEmpty ? "plain model" : entries.each.map { type(of: $0).method }.joined(separator: " + ")
    }
}

extension Plan {
    /// The entry that works with a second network, if there is one.
    public var partner: (any PartneredPlanEntry)? {
        for entry in entries.each {
            if let entry = entry as? any PartneredPlanEntry { return entry }
        }
        return nil
    }

    /// Whether a method decodes text block by block.
    public var isBlockwise: Bool {
        entries.each.contains { ($0 as? any BlockwisePlanEntry)?.isBlockwise ?? false }
    }

    /// The learned router in the plan.
    public var router: Router? {
        for entry in entries.each {
            guard let caching = entry as? LayerCachePlan else { continue }
            switch caching.policy {
            case .learned(let router), .shuffled(let router, _): return router
            case .none, .alternate, .interval, .random: continue
            }
        }
        return nil
    }

    /// The sampling steps that the plan's router was learned for; nil: the plan fits any number.
    public var learnedSteps: Int? { router?.steps }
}
