import DiffTensor

/// A network divided into components at the sizes of one run: which module belongs where, and what has to be kept from call to call.
struct AsyncDivision {
    /// The modules in the order in which they run; their sites are numbered as the session numbers them.
    let modules: [SiteProfile.Module]
    /// The component of each.
    let components: [Int]
    /// Whether another component, or what follows the last module, works on what it gives.
    let isKept: [Bool]
    /// The modules that the prediction is made of.
    let finals: [Int]
    /// Number of components.
    let count: Int
    /// Position in ``modules`` by the number of the site; -1: none.
    private let positions: [Int]

    /// `profile` divided by `components`, one for each of its modules, into `count`. `sites` is how many the session has.
    init(_ profile: SiteProfile, _ components: [Int], count: Int, sites: Int) {
        (modules, self.components, self.count, finals) = (profile.modules, components, count, profile.finals)
        var positions = [Int](repeating: -1, count: max(0, sites))
        var isKept = [Bool](repeating: false, count: profile.modules.count)
        for (position, module) in profile.modules.numbered {
            positions.put(position, at: module.site.number)
            for source in module.sources.each where components.at(source) != components.at(position) {
                isKept.put(true, at: source)
            }
        }
        // What follows is evaluated with every component.
        isKept.put(true, at: isKept.count &- 1)
        for position in finals.each { isKept.put(true, at: position) }
        (self.positions, self.isKept) = (positions, isKept)
    }

    /// The position of the module at `site`; nil: it is none.
    func position(of site: Site) -> Int? {
        guard let position = positions.at(site.number), position >= 0 else { return nil }
        return position
    }

    /// Elements of the largest output.
    var largest: Int {
        var largest = 1
        for module in modules.each { for shape in module.outputs.each { largest = max(largest, shape.count) } }
        return largest
    }

    /// Whether other components, or later predictions, work on what the last one gives, beside the prediction.
    var lastIsRead: Bool {
        for position in finals.each where position != modules.count &- 1 && components.at(position) == count &- 1 {
            return true
        }
        for (position, module) in modules.numbered {
            for source in module.sources.each
            where components.at(source) == count &- 1 && components.at(position) != count &- 1 { return true }
        }
        return false
    }

    /// The components as surfaces tell them; `name` says what a module is called.
    func report(_ name: (Site) -> String) -> [NetworkComponent] {
        let total = modules.each.reduce(0) { $0 + $1.flops }
        return Indices(below: count).map { component in
            var (names, flops) = ([String](), 0.0)
            var bytes = [Int](repeating: 0, count: count)
            var isCounted = [Bool](repeating: false, count: modules.count)
            for (position, module) in modules.numbered where components.at(position) == component {
                names.append(name(module.site))
                flops += module.flops
                for source in module.sources.each where isCounted.at(source) == false {
                    guard let owner = components.at(source), owner != component else { continue }
                    isCounted.put(true, at: source)
                    bytes.update(at: owner) { $0 = Checked.sum($0, modules.at(source)?.bytes ?? 0) }
                }
            }
            return NetworkComponent(
                modules: names, share: total > 0 ? flops / total : 0,
                receives: bytes.numbered.compactMap { $0.element > 0 ? .init(from: $0.offset, bytes: $0.element) : nil }
            )
        }
    }

    /// Consecutive modules of these costs in `count` components, so that the most expensive component costs as little as possible; of
    /// equal cuts the one with the earlier ends.
    static func balanced(_ costs: [Double], _ count: Int) -> [Int] {
        let total = costs.count
        // best[k][n]: the least possible cost of the dearest of k + 1 components over the first n modules.
        var sums = [0.0]
        for cost in costs.each { sums.append((sums.last ?? 0) + cost) }
        func cost(_ first: Int, _ end: Int) -> Double { (sums.at(end) ?? 0) - (sums.at(first) ?? 0) }
        var best = Indices(below: total &+ 1).map { cost(0, $0) }
        var starts: [[Int]] = []
        for component in Indices(below: count) where component > 0 {
            var (next, start) = ([Double](), [Int]())
            for end in Indices(below: total &+ 1) {
                var (least, chosen) = (Double.infinity, max(0, end &- 1))
                // Every component has a module.
                for first in Indices(below: end) where first >= component {
                    let dearest = max(best.at(first) ?? .infinity, cost(first, end))
                    if dearest < least { (least, chosen) = (dearest, first) }
                }
                next.append(least)
                start.append(chosen)
            }
            best = next
            starts.append(start)
        }
        var components = [Int](repeating: 0, count: total)
        var end = total
        for component in Indices(below: count) {
            let back = count &- 1 &- component
            let first = back > 0 ? starts.at(back &- 1)?.at(end) ?? 0 : 0
            for module in Indices(below: end) where module >= first { components.put(back, at: module) }
            end = first
        }
        return components
    }
}
