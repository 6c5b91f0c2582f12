/// What one evaluation of a network is made of: the operations of its modules, the sizes of what they give, and which of them works on
/// what others gave.
///
/// For methods that divide a network. Found by a dry evaluation, so that it holds for the sizes of the run at hand and is the same in every
/// process that makes the same run.
public struct SiteProfile: Sendable, Equatable {
    /// One module.
    public struct Module: Sendable, Equatable {
        /// The session's number of its site.
        public let site: Site
        /// Floating-point operations (a multiply-add counts as 2).
        public let flops: Double
        /// Seconds by the clock; 0 in a dry evaluation.
        public let seconds: Double
        /// Shapes of its outputs by slot.
        public let outputs: [Shape]
        /// Those whose outputs it works on, as positions in ``SiteProfile/modules``, ascending. One more than there are, rather than one less.
        public let sources: [Int]

        /// Bytes of its outputs.
        public var bytes: Int { outputs.each.reduce(0) { Checked.sum($0, $1.count &* 4) } }
    }

    /// In the order in which they ran.
    public internal(set) var modules: [Module] = []
    /// Those whose outputs the prediction is made of, as positions in ``modules``: the last one, or all that a last block's sum is of.
    public internal(set) var finals: [Int] = []
}

/// Watches modules, none within another, while a network is evaluated once.
final class SiteMeter: Acceleration {
    private let layouts: [SiteLayout]
    private let bases: [Int]
    /// The modules that are watched; the others that are asked for are frames around them.
    private let watched: SiteSet
    private(set) var profile = SiteProfile()
    /// Outputs of the modules so far. Held, so that no later tensor is made in their blocks.
    private var outputs: [Slots] = []
    /// The same of frames that gave what none of their modules did, such as a block's sum of its input and its parts, and the modules in it.
    private var sums: [(output: Slots, sources: [Int])] = []
    /// Those that made the output of a site, by its number; and that of the module or frame that ended last.
    private var givers: [Int: [Int]] = [:]
    private(set) var last: [Int] = []

    /// A module around others that are watched.
    private struct Frame {
        /// What it works on, and the first module in it.
        let sources: [Int], first: Int
        /// Whether each module in it works on the sum of what went in and what those before it gave.
        let isBlock: Bool
    }

    /// The frames around the module at work, and around the one before.
    private var frames: [Frame] = [], framesBefore: [Frame] = []

    init(_ layouts: [SiteLayout], bases: [Int], _ watched: SiteSet) {
        (self.layouts, self.bases, self.watched) = (layouts, bases, watched)
    }

    /// The modules that are watched, and all frames around them.
    var asked: SiteSet {
        var asked = watched
        for (network, base) in bases.numbered {
            guard let layout = layouts.at(network) else { continue }
            for number in layout.sites.indices {
                guard let site = layout.site(at: number), watched.contains(site.moved(by: base)) else { continue }
                var frame = layout.info(site).parent
                while let here = frame {
                    asked.insert(here.moved(by: base))
                    frame = layout.info(here).parent
                }
            }
        }
        return asked
    }

    func begin(_ context: SamplingContext) -> HookSet { HookSet() }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        guard watched.contains(site) else { return try frame(site, inputs, compute) }
        let (before, began) = (run.trace.flops.first ?? 0, Machine.seconds)
        let output = try compute()
        var shapes: [Shape] = []
        for slot in Indices(below: output.count) { if let tensor = output[slot] { shapes.append(tensor.shape) } }
        let module = SiteProfile.Module(
            site: site, flops: (run.trace.flops.first ?? 0) - before, seconds: Machine.seconds - began, outputs: shapes,
            sources: sources(of: inputs, at: site))
        framesBefore = frames
        last = [profile.modules.count]
        givers.put(last, for: site.number)
        profile.modules.append(module)
        outputs.append(output)
        return output
    }

    private func frame(_ site: Site, _ inputs: Slots, _ compute: Compute) throws(DiffError) -> Slots {
        let frame = Frame(
            sources: sources(of: inputs, at: site), first: outputs.count, isBlock: info(site)?.kind == .block)
        frames.append(frame)
        defer { _ = frames.popLast() }
        let output = try compute()
        var isNew = false
        for slot in Indices(below: output.count) {
            guard let tensor = output[slot] else { continue }
            if !outputs.each.contains(where: { $0.holds(tensor.storage) }) { isNew = true }
        }
        guard isNew else { return output }
        var found = frame.sources
        for position in Indices(below: outputs.count) where position >= frame.first { found.append(position) }
        sums.append((output, found))
        (last, framesBefore) = (found, frames)
        givers.put(found, for: site.number)
        return output
    }

    /// Modules whose outputs are among the inputs, and the other end of a skip connection. Where an input is of no module, something
    /// between modules made it: out of what the one before gave and the frames around both work on, for all that can be seen here; in a block
    /// out of what all before gave.
    private func sources(of inputs: Slots, at site: Site) -> [Int] {
        var found = [Bool](repeating: false, count: outputs.count)
        for slot in Indices(below: inputs.count) {
            guard let tensor = inputs[slot] else { continue }
            var isKnown = false
            for (position, output) in outputs.numbered where output.holds(tensor.storage) {
                found.put(true, at: position)
                isKnown = true
            }
            for (output, sources) in sums.each where !isKnown && output.holds(tensor.storage) {
                for position in sources.each { found.put(true, at: position) }
                isKnown = true
            }
            guard !isKnown else { continue }
            for position in last.each { found.put(true, at: position) }
            for frame in (frames + framesBefore).each {
                for position in frame.sources.each { found.put(true, at: position) }
            }
            guard let block = frames.last, block.isBlock else { continue }
            for position in outputs.indices where position >= block.first { found.put(true, at: position) }
        }
        if let giver = info(site)?.partner {
            for position in (givers[giver.number] ?? []).each { found.put(true, at: position) }
        }
        return found.numbered.compactMap { $0.element ? $0.offset : nil }
    }

    /// What is known about `site`; it and its partner are numbered as the session numbers them.
    private func info(_ site: Site) -> (kind: SiteInfo.Kind, partner: Site?)? {
        for (network, base) in bases.numbered {
            guard let layout = layouts.at(network), let own = layout.site(at: site.number &- base) else { continue }
            let info = layout.info(own)
            return (info.kind, info.partner?.moved(by: base))
        }
        return nil
    }
}

extension Slots {
    /// Whether one of the tensors is in this block.
    fileprivate func holds(_ storage: Storage) -> Bool {
        first.storage === storage || others.each.contains { $0.storage === storage }
    }
}

extension Run {
    /// The profile of `sites`, none within another, in `call`: found by evaluating it dry beside this run, whose methods are not asked and
    /// whose statistics stay as they are. With `timed` it is evaluated in earnest, twice, of which the second is timed. Throws what
    /// `evaluate` throws.
    public func profile(
        _ sites: [Site], of call: Call, _ layouts: [SiteLayout], timed: Bool = false, _ evaluate: Evaluate
    ) throws(DiffError) -> SiteProfile {
        var profile = SiteProfile()
        let isTimed = timed && !isDry
        for _ in Indices(below: isTimed ? 2 : 1) {
            let meter = SiteMeter(layouts, bases: bases, SiteSet(sites))
            let stack = AccelerationStack(asking: meter, at: meter.asked)
            _ = try evaluate(call, Run(measuring: self, stack: stack, isDry: !isTimed))
            profile = meter.profile
            profile.finals = meter.last
        }
        return profile
    }
}
