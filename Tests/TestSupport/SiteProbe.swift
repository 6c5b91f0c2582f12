import DiffTensor

/// Looks on: records what goes into and comes out of every site, and changes nothing.
public final class SiteProbe: Acceleration {
    public private(set) var inputs: [Int: Tensor] = [:]
    public private(set) var outputs: [Int: Tensor] = [:]
    /// All slots of what came out.
    public private(set) var slots: [Int: Slots] = [:]
    /// Sites in the order in which they were asked.
    public private(set) var visited: [Site] = []
    private var layout = SiteLayout(family: "")

    public init() {}

    public func begin(_ context: SamplingContext) -> HookSet {
        layout = context.layouts.first ?? layout
        (inputs, outputs, slots, visited) = ([:], [:], [:], [])
        var hooks = HookSet()
        for (network, layout) in context.layouts.enumerated() {
            for number in layout.sites.indices {
                hooks.modules.insert(context.site(layout.siteNumbered(number), of: network))
            }
        }
        return hooks
    }

    public func module(
        _ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute
    ) throws(DiffError) -> Slots {
        visited.append(site)
        self.inputs[site.number] = inputs.first
        let output = try compute()
        outputs[site.number] = output.first
        slots[site.number] = output
        return output
    }

    /// What came out of the site called `name`, if it was reached.
    public func output(_ name: String) -> Tensor? { layout.site(named: name).flatMap { outputs[$0.number] } }
    /// The same from slot `slot`.
    public func output(_ name: String, slot: Int) -> Tensor? {
        layout.site(named: name).flatMap { slots[$0.number]?[slot] }
    }
    /// What went into the site called `name`, if it was reached.
    public func input(_ name: String) -> Tensor? { layout.site(named: name).flatMap { inputs[$0.number] } }
}

extension SiteLayout {
    /// The site with this number.
    public func siteNumbered(_ number: Int) -> Site {
        guard let site = site(named: sites[number].name) else { fatalError("a site without its own name") }
        return site
    }
}
