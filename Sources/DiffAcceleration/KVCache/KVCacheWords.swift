public import DiffTensor

extension KVCachePlan: WordedPlanEntry {
    /// The rules that begin a word, with their forms.
    public static let words = [(rule: "dkv", form: "dkv:VARIANT[:REFRESH[:WINDOW]]")]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        let arguments = word.arguments
        let known = Variant.allCases.map(\.rawValue)
        let form = "dkv:VARIANT[:REFRESH[:WINDOW]] with one of \(known.joined(separator: ", "))"
        let name = arguments.at(0) ?? ""
        guard let variant = Variant(rawValue: name) else {
            throw word.malformed(form, Spelling.suggestion(for: name, among: known))
        }
        guard arguments.count <= 3 else { throw word.malformed(form) }
        let refresh = arguments.count > 1 ? word.number(1) : Self.defaultRefresh
        let window = arguments.count > 2 ? word.number(2) : 0
        guard let refresh, let window, (1...1_000_000).contains(refresh), (0...1_000_000).contains(window) else {
            throw word.malformed("\(form), refresh 1...1000000, window 0...1000000")
        }
        // Numbers that the variant does not read would have no effect.
        let members = Self.members(variant)
        guard arguments.count < 2 || members.contains("refresh"), arguments.count < 3 || members.contains("window")
        else {
            let taken = members.each.filter { $0 != "shift" }
            throw word.malformed("dkv:\(name)" + taken.map { "[:\($0.uppercased())]" }.joined())
        }
        try self.init(variant, refresh: refresh, window: window)
    }
}
