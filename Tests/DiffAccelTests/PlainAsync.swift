import DiffAcceleration
import DiffCheckpoint
import DiffTensor

/// Asynchronous denoising as its description has it, step by step, for comparison: whole components are named, every output is kept, and
/// nothing is known of who works on what.
struct PlainAsync: PlanEntry {
    static let method = "plain-async"
    static let options: [OptionSpec] = []

    /// The modules of each component.
    let components: [[String]]
    let stride: Int, warmUp: Int, timeShift: Bool, isReleased: Bool

    init(_ components: [[String]], stride: Int, warmUp: Int, timeShift: Bool, isReleased: Bool) {
        self.components = components
        (self.stride, self.warmUp, self.timeShift, self.isReleased) = (stride, warmUp, timeShift, isReleased)
    }

    init(_ json: JSONObject, files: (String) throws(DiffError) -> JSON) throws(DiffError) {
        throw DiffError(.unsupported, "only made in a program")
    }

    var json: JSON { .object(["method": .string(Self.method)]) }
    func check(_ layouts: [SiteLayout]) {}
    func makeAcceleration() -> any Acceleration { Simulation(self) }

    private final class Simulation: Acceleration {
        let plan: PlainAsync
        var context: SamplingContext?
        var owners: [Site: Int] = [:]
        var kept: [Site: Slots] = [:]
        var made: [Site: Slots] = [:]
        /// The component at work; nil: all.
        var active: Int?
        var last: Site?

        init(_ plan: PlainAsync) { self.plan = plan }

        func begin(_ context: SamplingContext) throws(DiffError) -> HookSet {
            self.context = context
            (owners, kept) = ([:], [:])
            var hooks = HookSet()
            for (component, names) in plan.components.enumerated() {
                for name in names {
                    guard let site = context.layouts.first?.site(named: name) else {
                        throw DiffError(.internal, "no site \(name)")
                    }
                    owners[context.site(site, of: 0)] = component
                    hooks.modules.insert(context.site(site, of: 0))
                }
            }
            (hooks.evaluations, hooks.separatesLanes) = (true, context.lanes == 1)
            return hooks
        }

        func module(_ site: Site, _ inputs: Slots, _ run: Run, _ compute: Compute) throws(DiffError) -> Slots {
            if let active, owners[site] != active { return kept[site] ?? inputs }
            let output = try compute()
            made[site] = output
            last = site
            return output
        }

        func evaluate(_ call: Call, _ run: Run, _ next: Evaluate) throws(DiffError) -> Tensor {
            let (k, times) = (call.index, context?.times ?? [])
            func pass(_ component: Int?, _ index: Int) throws(DiffError) -> Tensor {
                active = component
                var call = call
                if component != nil { call.time = times[index] }
                return try next(call, run)
            }
            made = [:]
            if k < plan.warmUp {
                let whole = try pass(nil, k)
                kept = made
                return whole
            }
            let (shift, end) = (plan.timeShift ? 1 : 0, plan.components.count - 1)
            var prediction: Tensor?
            if plan.stride == 1 {
                for component in 0...end { prediction = try pass(component, k - shift) }
                kept.merge(made) { $1 }
            } else if k % 2 == 0 {
                prediction = try pass(-1, k - shift)
            } else {
                prediction = try pass(end, k - shift)
                let extra = last.flatMap { site in made[site].map { (site, $0) } }
                made = [:]
                for component in 0...end { _ = try pass(component, k < times.count - 1 ? k + 1 - shift : k - shift) }
                kept.merge(made) { $1 }
                if plan.isReleased, let extra { kept[extra.0] = extra.1 }
            }
            guard let prediction else { throw DiffError(.internal, "no component") }
            return prediction
        }
    }
}
