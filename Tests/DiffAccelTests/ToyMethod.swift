import DiffAcceleration
import DiffCheckpoint
import DiffTensor

/// A method as somebody outside of the library writes one: the MLP of one block rests in every second call. the article
/// WriteAMethod walks through this file.
struct RestPlan: PlanEntry, Equatable {
    static let method = "rest"

    /// Position of the block in the network's block list.
    var block: Int
    /// The MLP rests in the last of every this many calls; 0: never.
    var every = 2

    var json: JSON {
        .object(["method": .string(Self.method), "block": .integer(block), "every": .integer(every)])
    }

    func check(_ layouts: [SiteLayout]) throws(DiffError) {
        guard let layout = layouts.first, layout.sites(.mlp).contains(where: { layout.info($0).block == block }) else {
            throw DiffError(
                .incompatible,
                "block \(block) has no MLP; there are \(layouts.first?.blocks.count ?? 0) blocks, numbered from 0")
        }
    }

    func makeAcceleration() -> any Acceleration { Rest(self) }
}

extension RestPlan {
    static let options = [
        OptionSpec("block", .integer(0...Limits.layers), "Position of the block in the network's block list."),
        OptionSpec(
            "every", .integer(0...1000), default: .integer(2),
            "The MLP rests in the last of every this many calls; 0: never."),
    ]

    init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        let options = try Self.read(json)
        (block, every) = (try options.get("block"), try options.get("every"))
    }
}

/// The method at work.
final class Rest: Acceleration {
    private let plan: RestPlan

    init(_ plan: RestPlan) { self.plan = plan }

    func begin(_ context: SamplingContext) -> HookSet {
        var hooks = HookSet()
        guard plan.every > 0, let layout = context.layouts.first else { return hooks }
        for site in layout.sites(.mlp) where layout.info(site).block == plan.block {
            hooks.modules.insert(context.site(site, of: 0))
        }
        return hooks
    }

    func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
        guard run.call.index % plan.every == plan.every - 1 else { return try compute() }
        return Slots(try run.scaled(inputs.first, 0))
    }
}
