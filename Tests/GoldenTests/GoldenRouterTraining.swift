import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport

/// The training cases of `l2c_dit`: one router iteration with soft scores (`e`) and straight through (`e_ste`), and a short run (`f`).
enum GoldenRouterTraining {
    /// NOTES.md: outputs 1e-4, losses 1e-6, gradients 1e-6 or 1e-3 relative, logits after the optimiser 1e-4.
    private static let outputs = GoldenTolerance.absolute(1e-4)
    private static let losses = GoldenTolerance.absolute(1e-6)
    private static let logits = GoldenTolerance.absolute(1e-4)

    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        for recomputes in [false, true] {
            for name in ["e", "e_ste"] { try iteration(fixture, name, recomputes, &report) }
        }
        try run(fixture, &report)
    }

    /// A step of the fixture's network and a run to perform it in.
    private static func step(
        _ fixture: GoldenFixture, _ name: String, rows: Int, recomputes: Bool = false
    ) throws -> (step: RouterStep, network: DiT, run: Run) {
        let configuration = try DiTConfiguration(fixture.config.object("model"))
        let weights = try fixture.checkpoint().weights(Weights.Options(parameters: Parameters()))
        let network = try DiT(configuration, weights)
        let steps = try fixture.config.object(name).integer("steps", in: 2...1000)
        let process = try GoldenSamplingOptions(fixture, "c").process
        let step = try RouterStep(network, .ddim(process, steps: steps), budget: nil, recomputes: recomputes)
        let run = Run(pool: try WorkerPool(threads: 2), budget: nil, stack: step.stack)
        try run.begin(SamplingContext(layouts: [network.layout], calls: 1, rows: rows))
        return (step, network, run)
    }

    static func rows(_ flat: [Float], _ width: Int) -> [[Float]] {
        stride(from: 0, to: flat.count, by: width).map { Array(flat[$0..<$0 + width]) }
    }

    private static func dropped(_ labels: [Int], _ drop: [Int], _ network: DiT) -> [Int] {
        zip(labels, drop).map { $1 != 0 ? network.configuration.nullClass ?? $0 : $0 }
    }

    private static func iteration(
        _ fixture: GoldenFixture, _ name: String, _ recomputes: Bool, _ report: inout GoldenReport
    ) throws {
        let settings = try fixture.config.object(name)
        report.uses(
            "\(name).x0", "\(name).y", "\(name).drop", "\(name).noise", "\(name).router_logits", "\(name).step_index")
        let (x0, y) = (try fixture.tensor("\(name).x0"), try fixture.integers("\(name).y"))
        let (step, network, run) = try step(fixture, name, rows: y.count, recomputes: recomputes)
        let labels = dropped(y, try fixture.integers("\(name).drop"), network)
        let indices = try fixture.integers("\(name).step_index")
        let router = RouterLogits(rows(try fixture.floats("\(name).router_logits"), step.sublayers.count))
        // Indices count from the clean end, calls from the noisy one.
        let call = { step.process.rows - 1 - $0 }
        try report.compare("\(name).timesteps", integers: indices.map { Int(step.process.timesteps[call($0)]) })

        let x = try step.process.noised(x0, fixture.tensor("\(name).noise"), call: call(indices[0]), run)
        try report.compare("\(name).x_t", x, outputs)
        let full = try step.full(x, labels: labels, call: call(indices[0]), run)
        var sampler = step.process.sampler(at: call(indices[0]))
        let next = try sampler.advance(x, full, run)
        try report.compare("\(name).x_next", next, outputs)
        let scores = router.scores(row: indices[1])
        let threshold = try settings.optionalNumber("ste_threshold", in: 0...1)
        let weights = threshold.map { threshold in scores.map { $0 > Float(threshold) ? 1 : 0 } } ?? scores
        let outcome = try step.compare(next, labels: labels, call: call(indices[1]), scores: weights, run)
        try report.compare("\(name).teacher_out", outcome.teacher, outputs)
        try report.compare("\(name).student_out", outcome.student, outputs)
        try report.compare("\(name).mse_per_sample", outcome.errors, losses)

        let l1 = try settings.number("l1", in: 0...1000)
        // Straight through or not, the l1 penalty is that of the soft scores.
        let sum = scores.reduce(0) { $0 + Double($1) }
        try report.compare("\(name).l1", [sum], losses)
        try report.compare("\(name).loss", [outcome.error + l1 * sum], losses)
        for (key, l1) in [("grad_logits", l1), ("grad_logits_mse_only", 0)] {
            var copy = router
            let gradient = copy.step(row: indices[1], gradient: outcome.gradient, l1: l1, learningRate: 0, clamp: nil)
            let bound = 1e-3 * (try fixture.doubles("\(name).\(key)").map(abs).max() ?? 0)
            try report.compare("\(name).\(key)", gradient, .absolute(max(1e-6, bound)))
        }
    }

    private static func run(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let settings = try fixture.config.object("f")
        report.uses("f.x0", "f.y", "f.drop", "f.noise", "f.t_sel", "f.router_logits_init")
        let (x0, noise) = (try fixture.tensor("f.x0"), try fixture.tensor("f.noise"))
        let (y, drop) = (try fixture.integers("f.y"), try fixture.integers("f.drop"))
        let pairs = try fixture.integers("f.t_sel")
        let batch = x0.shape[1]
        let sample = try Shape(Array(x0.shape.dims.dropFirst()))
        let (step, network, run) = try step(fixture, "f", rows: batch)
        var router = RouterLogits(rows(try fixture.floats("f.router_logits_init"), step.sublayers.count))
        let threshold = try settings.optionalNumber("ste_threshold", in: 0...1)
        let l1 = try settings.number("l1", in: 0...1000)
        var (losses, after): ([Double], [Float]) = ([], [])
        for (iteration, pair) in pairs.enumerated() {
            let part = iteration * batch..<(iteration + 1) * batch
            let labels = dropped(Array(y[part]), Array(drop[part]), network)
            let start = try x0.rows(iteration, 1).reshaped(sample)
            let first = step.process.rows - 2 - 2 * pair
            let x = try step.process.noised(start, noise.rows(iteration, 1).reshaped(sample), call: first, run)
            let full = try step.full(x, labels: labels, call: first, run)
            var sampler = step.process.sampler(at: first)
            let next = try sampler.advance(x, full, run)
            let scores = router.scores(row: 2 * pair)
            let weights = threshold.map { threshold in scores.map { $0 > Float(threshold) ? 1 : 0 } } ?? scores
            let outcome = try step.compare(next, labels: labels, call: first + 1, scores: weights, run)
            losses.append(outcome.error + l1 * scores.reduce(0) { $0 + Double($1) })
            router.step(
                row: 2 * pair, gradient: outcome.gradient, l1: l1,
                learningRate: try settings.number("lr", in: 0...10),
                clamp: Float(try settings.number("clamp", in: 0...100)))
            after += router.rows.flatMap { $0 }
        }
        try report.compare("f.loss", losses, Self.losses)
        try report.compare("f.router_logits_after", after, logits)
    }
}
