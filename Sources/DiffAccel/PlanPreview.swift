import DiffAcceleration
public import DiffCheckpoint
import DiffSampling
public import DiffTensor

/// What a plan would do to a model in a number of steps: the steps × sites grid, from a dry run.
public struct PlanPreview: Sendable {
    /// Names of the attention and MLP sites, in order.
    public let sites: [String]
    /// Original timestep of each network call, noisiest first; the side of each scale.
    public let timesteps: [Double]
    /// Which of the session's networks runs in each call: 0 is the model itself.
    public let networks: [Int]
    /// What happens at each call and site.
    public let grid: [[Trace.Outcome]]
    /// Floating-point operations of one sample with the plan and without.
    public let flops: Double, baselineFlops: Double
    /// The parts into which a method divides the work of a call, at the size of the preview; empty where none does.
    public let components: [NetworkComponent]

    /// Share of all sites that are not computed.
    public var shareSaved: Double {
        let all = grid.reduce(0) { $0 + $1.count }
        let computed = grid.reduce(0) { $0 + $1.count { $0 == .computed } }
        return all == 0 ? 0 : 1 - Double(computed) / Double(all)
    }

    /// The preview as JSON: `grid` has one text per step with a character per site, "1" computed, "0" reused, "-" skipped.
    public var json: JSON {
        let rows = grid.map { row in
            JSON.string(
                row.map { outcome in
                    switch outcome {
                    case .computed: "1"
                    case .reused: "0"
                    case .skipped: "-"
                    }
                }.joined())
        }
        var members: [String: JSON] = [
            "sites": .array(sites.map { .string($0) }), "timesteps": .array(timesteps.map { .timestep($0) }),
            "networks": .array(networks.map { .integer($0) }), "grid": .array(rows), "saved": .number(shareSaved),
            "flops": .number(flops),
            "baseline_flops": .number(baselineFlops),
        ]
        if !components.isEmpty { members.put(.array(components.each.map { $0.json }), for: "components") }
        return .object(members)
    }
}

extension NetworkComponent {
    /// The component as JSON: `modules`, `share` of the operations, and `receives`, of which each has `from` and `bytes`.
    var json: JSON {
        .object([
            "modules": .array(modules.each.map { .string($0) }), "share": .number(share),
            "receives": .array(
                receives.each.map { .object(["from": .integer($0.from), "bytes": .integer($0.bytes)]) }),
        ])
    }
}

extension Model {
    /// What `plan` would do in `steps` steps of the model's own sampler, of a flow's `euler`; nil: as many as a request has by default.
    /// Throws `incompatible` when it does not fit, `invalidArgument`, `unsupported`.
    public func preview(_ plan: Plan, steps: Int? = nil) throws(DiffError) -> PlanPreview {
        guard let base = family.sampling else {
            throw DiffError(.unsupported, "\(familyName) models take no plans")
        }
        let sampling = try base.under(plan, SessionOptions())
        try plan.check(sampling.layouts)
        let job = try sampling.job(sampling.previewRequest(steps: steps))
        let dryRun = try DryRun(job, plan, threads: 1)
        let sites = layout.sites(.attention, .mlp)
        let grid = dryRun.networks.numbered.map { call, network in
            // The grid shows the model's own network.
            sites.map { network == 0 ? dryRun.trace.outcome($0, call: call) : .skipped }
        }
        return PlanPreview(
            sites: sites.map { layout.info($0).name }, timesteps: job.timesteps, networks: dryRun.networks,
            grid: grid, flops: dryRun.flops,
            baselineFlops: try DryRun(job, Plan(), threads: 1).flops, components: dryRun.components)
    }
}
