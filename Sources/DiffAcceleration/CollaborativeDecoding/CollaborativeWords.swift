public import DiffTensor

extension CollaborativePlan: WordedPlanEntry {
    /// The rules that begin a word, with their forms.
    public static let words = [(rule: "code", form: "code[:DRAFT_SCALES]")]

    /// The entry that `word` writes out. Throws `invalidArgument`.
    public init(word: PlanWord) throws(DiffError) {
        guard word.arguments.count <= 1 else { throw word.malformed("code[:DRAFT_SCALES]") }
        guard !word.arguments.isEmpty else {
            self.init()
            return
        }
        guard let scales = word.number(0), (1...1000).contains(scales) else {
            throw word.malformed("code[:DRAFT_SCALES] (scales 1...1000)")
        }
        self.init(draftScales: scales)
    }
}
