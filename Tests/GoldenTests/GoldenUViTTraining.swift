import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport

/// The training cases of `l2c_uvit`: one router iteration (`e`), and a short run (`f`).
enum GoldenUViTTraining {
    /// NOTES.md: states and outputs as those of sampling and of forward passes, losses 1e-4 relative, gradients 1e-3 relative, logits after
    /// the optimiser 1e-4.
    private static let states = GoldenTolerance.absolute(5e-5)
    private static let losses = GoldenTolerance.relative(1e-4)
    private static let logits = GoldenTolerance.absolute(1e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        // Sets that the fixtures' program writes are of inference alone.
        guard fixture.has("e.x0") || fixture.has("f.x0") else { return }
        for recomputes in [false, true] { try iteration(fixture, recomputes, &report) }
        try run(fixture, &report)
        try trainer(fixture, &report)
    }

    /// A step of the fixture's network and a run to perform it in.
    private static func step(
        _ fixture: GoldenFixture, _ name: String, rows: Int, recomputes: Bool = false
    ) throws -> (step: RouterStep, run: Run) {
        let weights = try fixture.checkpoint().weights(Weights.Options(parameters: Parameters()))
        let network = try UViT(UViTConfiguration(fixture.config.object("model")), weights)
        let evaluations = try fixture.config.object(name).integer("nfe", in: 2...1000)
        let process = try RouterProcess.singlestep(.stableDiffusion, evaluations: evaluations)
        let step = try RouterStep(network, process, budget: nil, recomputes: recomputes)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: step.stack)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: rows))
        return (step, run)
    }

    /// The states of a training step whose full step is number `index`: noised data, at the midpoint, at the step's end.
    private static func trainingStates(
        _ step: RouterStep, _ x0: Tensor, _ noise: Tensor, _ labels: [Int], index: Int, _ run: Run
    ) throws -> (noised: Tensor, middle: Tensor, next: Tensor) {
        let noised = try step.process.noised(x0, noise, call: 2 * index, run)
        var sampler = step.process.sampler(at: 2 * index)
        let middle = try sampler.advance(noised, step.full(noised, labels: labels, call: 2 * index, run), run)
        let full = try step.full(middle, labels: labels, call: 2 * index + 1, run)
        return (noised, middle, try sampler.advance(middle, full, run))
    }

    private static func iteration(
        _ fixture: GoldenFixture, _ recomputes: Bool, _ report: inout GoldenReport
    ) throws {
        report.uses("e.x0", "e.y", "e.noise", "e.router_logits", "e.step_index")
        let labels = try fixture.integers("e.y")
        let (step, run) = try step(fixture, "e", rows: labels.count, recomputes: recomputes)
        let (index, row) = (try fixture.integers("e.step_index")[0], try fixture.integers("e.step_index")[1])
        let router = RouterLogits(
            GoldenRouterTraining.rows(try fixture.floats("e.router_logits"), step.sublayers.count))
        let process = step.process
        try report.compare(
            "e.t_inputs",
            [
                process.timesteps[2 * index], process.timesteps[2 * index + 1], process.trainingTimesteps[2 * row],
                process.trainingTimesteps[2 * row],
            ].map { Float($0) }, GoldenUViTSampling.times)

        let x = try trainingStates(
            step, fixture.tensor("e.x0"), fixture.tensor("e.noise"), labels, index: index, run)
        try report.compare("e.x_n", x.noised, states)
        try report.compare("e.x_s1", x.middle, states)
        try report.compare("e.x_next", x.next, states)
        let scores = router.scores(row: row)
        let outcome = try step.compare(x.next, labels: labels, call: 2 * row, scores: scores, run)
        try report.compare("e.teacher_out", outcome.teacher, GoldenUViT.forward)
        try report.compare("e.student_out", outcome.student, GoldenUViT.forward)
        try report.compare("e.sse_per_sample", outcome.errors, losses)

        let l1 = try fixture.config.object("e").number("l1", in: 0...1000)
        let sum = scores.reduce(0) { $0 + Double($1) }
        try report.compare("e.l1", [sum], .absolute(1e-6))
        try report.compare("e.loss", [outcome.error + l1 * sum], losses)
        for (key, l1) in [("e.grad_logits", l1), ("e.grad_logits_sse_only", 0)] {
            var copy = router
            let gradient = copy.step(row: row, gradient: outcome.gradient, l1: l1, learningRate: 0, clamp: nil)
            try report.compare(key, gradient, .relative(1e-3))
        }
    }

    private static func run(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let settings = try fixture.config.object("f")
        report.uses("f.x0", "f.y", "f.noise", "f.step_sel", "f.router_logits_init")
        let (x0, noise) = (try fixture.tensor("f.x0"), try fixture.tensor("f.noise"))
        let y = try fixture.integers("f.y")
        let batch = x0.shape[1]
        let sample = try Shape(Array(x0.shape.dims.dropFirst()))
        let (step, run) = try step(fixture, "f", rows: batch)
        var router = RouterLogits(
            GoldenRouterTraining.rows(try fixture.floats("f.router_logits_init"), step.sublayers.count))
        let used = try fixture.shape("f.router_logits_after")[1]
        let (l1, rate) = (try settings.number("l1", in: 0...1000), try settings.number("lr", in: 0...10))
        var (losses, after): ([Double], [Float]) = ([], [])
        for (iteration, index) in try fixture.integers("f.step_sel").enumerated() {
            let labels = Array(y[iteration * batch..<(iteration + 1) * batch])
            let x = try trainingStates(
                step, x0.rows(iteration, 1).reshaped(sample), noise.rows(iteration, 1).reshaped(sample), labels,
                index: index, run)
            let scores = router.scores(row: index + 1)
            let outcome = try step.compare(x.next, labels: labels, call: 2 * index + 2, scores: scores, run)
            losses.append(outcome.error + l1 * scores.reduce(0) { $0 + Double($1) })
            router.step(row: index + 1, gradient: outcome.gradient, l1: l1, learningRate: rate, clamp: nil)
            after += router.rows.prefix(used).flatMap { $0 }
        }
        try report.compare("f.loss", losses, Self.losses)
        try report.compare("f.router_logits_after", after, logits)
    }

    /// A trainer on the fixture's folder: its plan samples in half as many steps as it has rows.
    private static func trainer(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let (folder, labels) = (try ScratchDirectory(), try fixture.integers("e.y"))
        try folder.write(["latents": fixture.tensor("e.x0")], as: "x.safetensors")
        try folder.write(integers: labels, [labels.count], as: "y.npy")
        func settings(_ method: String, _ more: [String: JSON] = [:]) -> JSON {
            let data = ["latents": "x.safetensors", "labels": "y.npy"].mapValues {
                JSON.string("\(folder.path)/\($0)")
            }
            let own: [String: JSON] = [
                "method": .string(method), "data": .object(data), "steps": .integer(3), "batch": .integer(2),
            ]
            return .object(own.merging(more) { $1 })
        }
        let trainer = try Trainer(fixture.path, settings("router", ["sampling_steps": .integer(4)]))
        try trainer.run(3)
        let plan = try trainer.plan()
        guard case .learned(let router)? = (plan.entries.first as? LayerCachePlan)?.policy else {
            return report.fail("trainer", "the plan has no router")
        }
        if router.steps != 8 || router.threshold != 0.9 { report.fail("trainer", "\(router.steps) rows") }
        let result = try Model(fixture.path).session(plan).sample(SampleRequest(["labels": [0, 1]]))
        let steps = result.statistics.steps
        if steps.count != 8 || steps.reduce(0, { $0 + $1.sites.reused }) == 0 {
            report.fail("trainer", "\(steps.count) calls")
        }
        let refusals: [(JSON, DiffError.Code, String)] = [
            (settings("prune", ["pattern": .string("1:2")]), .unsupported, "it has router"),
            (settings("router", ["period": .integer(3)]), .invalidArgument, "leave it out"),
        ]
        for (settings, code, words) in refusals {
            do {
                _ = try Trainer(fixture.path, settings)
                report.fail("trainer", "not refused: \(words)")
            } catch {
                if error.code != code || !error.message.contains(words) { report.fail("trainer", error.message) }
            }
        }
    }
}
