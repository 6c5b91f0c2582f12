import DiffTensor

/// The attentions of a network that LiteFocus may change: those of some levels, of all transformers or the first ones.
struct SparseSites {
    /// In the order in which the network visits them; attention to texts is among them.
    let sites: [Site]

    /// Transformers after a resnet, and blocks of each, that the authors' code reaches.
    private static let transformers = 3, blocks = 1

    /// Those of `layout` that `plan` means. Throws `incompatible` when there are none, or no such levels.
    init(_ layout: SiteLayout, _ plan: LiteFocusPlan) throws(DiffError) {
        if let missing = layout.firstMissing(of: [.coversTimeAndFrequency]) {
            throw DiffError(
                .incompatible,
                "LiteFocus is for a model that \(missing): a grid that has rows of the same frequency; this one is \(layout.family)"
            )
        }
        var (found, all): ([Site], [Int]) = ([], [])
        var places = Places()
        for (number, info) in layout.sites.numbered {
            places.visit(number, info)
            guard info.kind == .attention, let level = info.level, let site = layout.site(at: number) else { continue }
            if !all.each.contains(level) { all.append(level) }
            guard plan.levels.each.contains(level) else { continue }
            if plan.scope == .all || places.isFirst(Self.transformers, Self.blocks) { found.append(site) }
        }
        for level in plan.levels.each where !all.each.contains(level) {
            let known = all.sorted().each.map { String($0) }.joined(separator: ", ")
            throw DiffError(
                .incompatible, "levels: the model has no attention on level \(level); there is attention on \(known)")
        }
        guard !found.isEmpty else {
            throw DiffError(.incompatible, "no attention of this model is within scope; set scope to \"all\"")
        }
        sites = found
    }

    /// Where a walk through the sites is: which transformer after the last resnet, and which block of it.
    private struct Places {
        private var transformer = -1, block = -1

        mutating func visit(_ number: Int, _ info: SiteInfo) {
            switch info.kind {
            // A level is a stage without a stage around it.
            case .stage where info.parent == nil: (transformer, block) = (-1, -1)
            case .stage: (transformer, block) = (transformer &+ 1, -1)
            case .resnet: (transformer, block) = (-1, -1)
            case .block: block &+= 1
            case .network, .attention, .mlp, .other: return
            }
        }

        func isFirst(_ transformers: Int, _ blocks: Int) -> Bool { transformer < transformers && block < blocks }
    }
}
