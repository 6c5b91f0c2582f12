import DiffTensor

/// Cuts within modules: between the attentions and feed-forwards of a transformer, where components of whole modules are uneven.
///
/// A module that is cut is a module no more: its parts are, and what stands between them (norms, projections, sums) is evaluated by every
/// component. More has to be sent, too: what goes into the module, and what its parts gave. Only a gain that is worth it is taken.
struct FineCut {
    /// The profile of whole modules, and that of their parts.
    private let whole: SiteProfile, parts: SiteProfile
    /// For each part the position of the module around it, or of itself where a module has none.
    private let owners: [Int]
    /// For each whole module what is computed between its parts.
    private let between: [Double]

    /// The least share of the dearest component's cost that a cut within a module must save.
    private static let gain = 0.02

    /// Nil where modules have no parts, or parts did not run. `inner` has the parts of a module by the number of its site.
    init?(_ whole: SiteProfile, _ parts: SiteProfile, inner: [[Site]]) {
        var around: [Int: Int] = [:]
        var (between, count) = ([Double](), 0)
        for (position, module) in whole.modules.numbered {
            let own = inner.at(module.site.number) ?? []
            around.put(position, for: module.site.number)
            for site in own.each { around.put(position, for: site.number) }
            between.append(own.isEmpty ? 0 : module.flops)
            count &+= max(1, own.count)
        }
        var owners: [Int] = []
        for part in parts.modules.each {
            guard let owner = around[part.site.number] else { return nil }
            owners.append(owner)
            if inner.at(whole.modules.at(owner)?.site.number ?? -1)?.isEmpty == false {
                between.update(at: owner) { $0 -= part.flops }
            }
        }
        guard parts.modules.count == count, count > whole.modules.count else { return nil }
        (self.whole, self.parts, self.owners, self.between) = (whole, parts, owners, between)
    }

    /// The sites of `count` components that are more even than those of whole modules in `components`, and to which each belongs; nil: there
    /// are none.
    func balanced(_ count: Int, beside components: [Int]) -> (sites: [Site], components: [Int])? {
        var sizes = [Int](repeating: 0, count: whole.modules.count)
        for owner in owners.each { sizes.update(at: owner) { $0 &+= 1 } }
        var costs: [Double] = []
        for (position, part) in parts.modules.numbered {
            let owner = owners.at(position) ?? 0
            costs.append(part.flops + (between.at(owner) ?? 0) / Double(max(1, sizes.at(owner) ?? 1)))
        }
        let fine = AsyncDivision.balanced(costs, count)
        let isCut = cut(fine)
        guard dearest(fine, isCut, count) < dearest(components, count) * (1 - Self.gain) else { return nil }
        var (sites, chosen): ([Site], [Int]) = ([], [])
        var last = -1
        for (position, part) in parts.modules.numbered {
            let owner = owners.at(position) ?? 0
            if isCut.at(owner) == true {
                sites.append(part.site)
            } else if owner != last, let module = whole.modules.at(owner) {
                sites.append(module.site)
            } else {
                continue
            }
            last = owner
            chosen.append(fine.at(position) ?? 0)
        }
        return (sites, chosen)
    }

    /// Which whole modules have parts in several components.
    private func cut(_ fine: [Int]) -> [Bool] {
        var isCut = [Bool](repeating: false, count: whole.modules.count)
        for (position, owner) in owners.numbered where position > 0 && owners.at(position &- 1) == owner {
            if fine.at(position) != fine.at(position &- 1) { isCut.put(true, at: owner) }
        }
        return isCut
    }

    /// What the dearest component of whole modules costs.
    private func dearest(_ components: [Int], _ count: Int) -> Double {
        var dearest = 0.0
        for component in Indices(below: count) {
            var cost = 0.0
            for (position, module) in whole.modules.numbered where components.at(position) == component {
                cost += module.flops
            }
            dearest = max(dearest, cost)
        }
        return dearest
    }

    /// The same of parts: of a module that is cut, all components compute what is between its parts.
    private func dearest(_ fine: [Int], _ isCut: [Bool], _ count: Int) -> Double {
        var dearest = 0.0
        for component in Indices(below: count) {
            var (cost, last) = (0.0, -1)
            for (position, part) in parts.modules.numbered {
                let (owner, isOwn) = (owners.at(position) ?? 0, fine.at(position) == component)
                if isOwn { cost += part.flops }
                // Once for each module around parts.
                if owner != last, isOwn || isCut.at(owner) == true { cost += between.at(owner) ?? 0 }
                last = owner
            }
            dearest = max(dearest, cost)
        }
        return dearest
    }
}
