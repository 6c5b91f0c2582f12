import DiffTensor

/// The modules of a network that may be evaluated in one component and answered for in the others, and which belong to which.
///
/// They are the largest modules that are not mere frames around others: convolutions, resnets, transformers and samplers of a U-Net, the
/// blocks of a transformer. What is none of them is evaluated freshly wherever it is reached.
struct AsyncModules {
    /// In the order in which they run, numbered as the layout numbers them.
    let sites: [Site]
    /// The component of each; nil: a cut is found when the operations of each are known.
    let components: [Int]?
    /// The parts of modules between which a balanced cut may fall too, by the number of the module: attentions and feed-forwards.
    private(set) var parts: [[Site]] = []

    /// The modules of `layout` as `plan` divides them. Throws `incompatible`.
    init(_ layout: SiteLayout, _ plan: AsyncPlan) throws(DiffError) {
        let whole = Self.whole(layout)
        guard whole.count >= plan.components else {
            throw DiffError(
                .incompatible,
                "a \(layout.family) model has \(whole.count) modules to divide into \(plan.components) components")
        }
        if case .modules(let lists) = plan.split {
            (sites, components) = try Self.named(lists, whole, layout)
            return
        }
        let names = whole.each.map { layout.info($0).name }
        let official =
            plan.split == nil || plan.split == .official ? OfficialSplit.modules(layout, names, plan.components) : nil
        guard official != nil || plan.split != .official else {
            throw DiffError(
                .incompatible,
                "there is no published split of a network like this \(layout.family) model into \(plan.components) components: "
                    + "use \"split\": \"balanced\", or list the modules of each")
        }
        guard let official else {
            (sites, components) = (whole, nil)
            if plan.split != .measured { parts = Self.parts(whole, layout) }
            return
        }
        (sites, components) = try Self.named(official, whole, layout)
    }

    /// The modules that are no frames, none within another, and that cover the network.
    private static func whole(_ layout: SiteLayout) -> [Site] {
        var isFrame = [Bool](repeating: false, count: max(0, layout.sites.count))
        for info in layout.sites.each where info.kind != .block {
            guard let parent = info.parent else { continue }
            let kind = layout.info(parent).kind
            if kind == .stage || kind == .network { isFrame.put(true, at: parent.number) }
        }
        var whole: [Site] = []
        for (number, info) in layout.sites.numbered where !(isFrame.at(number) ?? true) {
            guard let site = layout.site(at: number), info.parent.map({ isFrame.at($0.number) ?? false }) ?? true
            else { continue }
            whole.append(site)
        }
        return whole
    }

    /// The sites within each module that have none within them.
    private static func parts(_ whole: [Site], _ layout: SiteLayout) -> [[Site]] {
        var hasParts = [Bool](repeating: false, count: max(0, layout.sites.count))
        for info in layout.sites.each { if let parent = info.parent { hasParts.put(true, at: parent.number) } }
        var isModule = [Bool](repeating: false, count: hasParts.count)
        for site in whole.each { isModule.put(true, at: site.number) }
        var parts = [[Site]](repeating: [], count: hasParts.count)
        for (number, info) in layout.sites.numbered where hasParts.at(number) == false {
            var above = info.parent
            while let frame = above, isModule.at(frame.number) == false { above = layout.info(frame).parent }
            guard let module = above, let site = layout.site(at: number) else { continue }
            parts.update(at: module.number) { $0.append(site) }
        }
        return parts
    }

    /// The modules that `lists` name, and where they belong.
    private static func named(
        _ lists: [[String]], _ whole: [Site], _ layout: SiteLayout
    ) throws(DiffError) -> ([Site], [Int]) {
        var owners = [Int?](repeating: nil, count: max(0, layout.sites.count))
        for (component, names) in lists.numbered {
            for name in names.each {
                let found = try sites(named: name, whole, layout)
                for site in found.each {
                    guard owners.at(site.number) == .some(nil) else {
                        throw DiffError(
                            .incompatible, "split: \(layout.info(site).name) is in two components, or twice in one")
                    }
                    owners.put(component, at: site.number)
                }
            }
        }
        try checkCover(owners, whole, layout)
        var (sites, components): ([Site], [Int]) = ([], [])
        for (number, owner) in owners.numbered {
            guard let owner, let site = layout.site(at: number) else { continue }
            sites.append(site)
            components.append(owner)
        }
        for component in Indices(below: lists.count) where !components.each.contains(component) {
            throw DiffError(.incompatible, "split: component \(component) has no module")
        }
        return (sites, components)
    }

    /// The modules below the path `name`, or the one of that name.
    private static func sites(
        named name: String, _ whole: [Site], _ layout: SiteLayout
    ) throws(DiffError) -> [Site] {
        let within = "\(name)."
        let found = whole.each.filter { site in
            let own = layout.info(site).name
            return own == name || own.hasPrefix(within)
        }
        if !found.isEmpty { return found }
        guard let site = layout.site(named: name) else {
            throw DiffError(
                .incompatible,
                "split: the \(layout.family) model has no module \"\(name.prefix(120))\""
                    + Spelling.suggestion(for: name, among: layout.sites.each.map { $0.name }))
        }
        return [site]
    }

    /// Throws where a module that costs something is in no component, or a part of one in another.
    private static func checkCover(
        _ owners: [Int?], _ whole: [Site], _ layout: SiteLayout
    ) throws(DiffError) {
        var covered = SiteSet()
        for (number, owner) in owners.numbered where owner != nil {
            guard let site = layout.site(at: number) else { continue }
            covered.insert(site)
            var above = layout.info(site).parent
            while let frame = above {
                if owners.at(frame.number) != .some(nil) {
                    throw DiffError(
                        .incompatible,
                        "split: \(layout.info(site).name) is part of \(layout.info(frame).name), which is named too")
                }
                covered.insert(frame)
                above = layout.info(frame).parent
            }
        }
        for site in whole.each where !covered.contains(site) {
            let info = layout.info(site)
            // Evaluated wherever it is reached, at next to no cost.
            if info.kind == .other { continue }
            throw DiffError(.incompatible, "split: \(info.name) is in no component")
        }
    }
}
