import DiffAccel
import Glibc

/// Samples one picture of each of four classes, with and without layer caching, and compares.
///
///     sample-with-plan MODEL [PLAN]
///
/// PLAN is a file, or a rule such as interval:3. Without it every second step reuses all attention and MLP outputs of the step before.
@main
struct SampleWithPlan {
    static func main() {
        let arguments = CommandLine.arguments
        guard (2...3).contains(arguments.count) else {
            print("usage: sample-with-plan MODEL [PLAN]")
            exit(64)
        }
        // Every error of the library is a DiffError: a kind, and a sentence that names the place.
        do throws(DiffError) {
            try compare(model: arguments[1], plan: arguments.count > 2 ? arguments[2] : nil)
        } catch {
            print("\(error.code): \(error.message)")
            exit(1)
        }
    }

    static func compare(model path: String, plan file: String?) throws(DiffError) {
        // A model is immutable; any number of sessions and threads may share it.
        let model = try Model(path)
        var plan = Plan([LayerCachePlan(.alternate)])
        if let file { plan = try Plan(named: file) }

        var request = SampleRequest(["labels": [0, 1, 2, 3]])
        // A learned router is made for one number of steps; rules work for any.
        request["steps"] = plan.learnedSteps ?? 20
        request["seed"] = 0

        // A session owns what a run changes: threads, memory, caches.
        let plain = try model.session().sample(request)
        let cached = try model.session(plan).sample(request) { event in
            if event.stage == .denoise, event.step == event.steps {
                print("last step at timestep \(event.timestep ?? 0), \(event.sites.reused) outputs reused in it")
            }
            return .continue  // or .cancel
        }

        show("plain", plain)
        show("plan", cached)
        print("speed-up: \(plain.statistics.seconds / cached.statistics.seconds)")
        print("ideal, by arithmetic: \(plain.statistics.flops / cached.statistics.flops)")
        // Models that draw codes instead of denoising have no final states.
        if let a = plain.latents, let b = cached.latents {
            print("mean difference of the final states: \(meanDifference(a, b))")
        }
    }

    static func show(_ name: String, _ result: SampleResult) {
        let statistics = result.statistics
        let states = result.latents.map { "final states \($0.shape), " } ?? ""
        print("\(name): \(states)\(statistics.steps.count) \(statistics.sampler) steps")
        print("  seconds \(statistics.seconds), \(statistics.threads) threads, peak \(statistics.peakBytes) bytes")
        print("  outputs computed \(statistics.sites.computed), reused \(statistics.sites.reused)")
        if let images = result.images {
            print("  images: \(images.count) of \(images.width) x \(images.height), \(images.channels) channel(s)")
        }
    }

    static func meanDifference(_ a: Tensor, _ b: Tensor) -> Float {
        let differences = zip(a.array, b.array).map { abs($0 - $1) }
        return differences.reduce(0, +) / Float(max(1, differences.count))
    }
}
