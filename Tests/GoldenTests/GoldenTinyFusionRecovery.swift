import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining
import TestSupport

/// `tinyfusion_kd`: masked representation distillation and logits distillation.
enum GoldenTinyFusionRecovery {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        for recomputes in [false, true] { try masked(fixture, recomputes: recomputes, &report) }
        try logits(fixture, &report)
    }

    private static func network(
        _ fixture: GoldenFixture, _ role: String, _ parameters: Parameters? = nil
    ) throws -> DiT {
        let weights = try fixture.checkpoint().weights(Weights.Options(parameters: parameters))
        for other in ["teacher", "student"] where other != role { weights.markUsed(prefix: "\(other).") }
        let config = fixture.config
        var members = config.members
        members["depth"] = .integer(try config.integer("\(role)_depth", in: 1...1000))
        return try DiT(DiTConfiguration(JSONObject(.object(members), source: "config")), weights.scope(role))
    }

    private struct RecoveryCase {
        let step: RecoveryStep
        let parameters: Parameters
        let run, teacherRun: Run
        let null: Int
    }

    private static func recoveryCase(
        _ fixture: GoldenFixture, _ method: RecoveryMethod, rows: Int, recomputes: Bool = false
    ) throws -> RecoveryCase {
        let parameters = Parameters { $0 != "student.pos_embed" }
        let student = try network(fixture, "student", parameters)
        let teacher = try network(fixture, "teacher")
        let share = try fixture.config.number("alpha_kd", in: 0...1)
        let loss = DistillationLoss(
            try DiffusionLoss(.dit), distillationWeight: share, groundWeight: 1 - share)
        let step = try RecoveryStep(
            student, parameters, teacher: teacher, method, loss, budget: nil, recomputes: recomputes)
        let pool = try WorkerPool(threads: 2)
        let run = Run(pool: pool, budget: nil, stack: step.stack)
        try run.begin(SamplingContext(layouts: [student.layout], calls: 1, rows: rows))
        let teacherRun = Run(pool: pool, budget: nil, stack: step.teacherStack)
        try teacherRun.begin(SamplingContext(layouts: [teacher.layout], calls: 1, rows: rows))
        return RecoveryCase(
            step: step, parameters: parameters, run: run, teacherRun: teacherRun,
            null: student.configuration.nullClass ?? 0)
    }

    private static func dropped(_ labels: [Int], _ drop: [Int], _ null: Int) -> [Int] {
        zip(labels, drop).map { $1 != 0 ? null : $0 }
    }

    /// NOTES.md: loss terms 2e-5 relative; 1e-3 on the sample of t = 0 if tanh differs by an ulp.
    private static func compare(
        _ key: String, _ values: [Double], _ t: [Int], _ fixture: GoldenFixture, _ report: inout GoldenReport
    ) throws {
        let expected = try fixture.doubles(key)
        var problem: String?
        for (sample, value) in values.enumerated() where sample < expected.count {
            let allowed = (t[sample] == 0 ? 1e-3 : 2e-5) * abs(expected[sample])
            if !(abs(value - expected[sample]) <= allowed + 1e-9) {
                problem = "sample \(sample): \(value), recorded \(expected[sample])"
            }
        }
        report.confirm(key, values.count == expected.count ? problem : "\(values.count) values")
    }

    private static func masked(
        _ fixture: GoldenFixture, recomputes: Bool, _ report: inout GoldenReport
    ) throws {
        let pairs = try fixture.config.array("layer_map").map { pair in
            guard case .array(let numbers) = pair, numbers.count == 2, let s = numbers[0].asDouble,
                let t = numbers[1].asDouble
            else { throw DiffError(.format, "layer_map") }
            return RecoveryMethod.LayerPair(student: Int(s), teacher: Int(t))
        }
        let measure = FeatureLoss(sigmas: try fixture.config.number("k_sigma", in: 0...100))
        report.uses("x0", "y", "drop", "t", "noise")
        let (x0, t) = (try fixture.tensor("x0"), try fixture.integers("t"))
        let recoveryCase = try recoveryCase(fixture, .masked(pairs, measure), rows: t.count, recomputes: recomputes)
        let labels = dropped(try fixture.integers("y"), try fixture.integers("drop"), recoveryCase.null)
        try report.compare("y_used", integers: labels)
        let beta = try fixture.config.number("beta_feat", in: 0...1000)
        let outcome = try recoveryCase.step(
            x0: x0, labels: labels, teacherLabels: labels, t: t, noise: fixture.tensor("noise"), featureWeight: beta,
            recoveryCase.run, teacher: recoveryCase.teacherRun)
        for (block, feature) in outcome.studentFeatures.sorted(by: { $0.key < $1.key }) {
            try report.compare("feat.student.\(block)", feature, .absolute(2e-5))
            try report.compare("mask.student.\(block)", integers: mask(feature, measure))
        }
        for (block, feature) in outcome.teacherFeatures.sorted(by: { $0.key < $1.key }) {
            try report.compare("feat.teacher.\(block)", feature, .absolute(2e-5))
            try report.compare("mask.teacher.\(block)", integers: mask(feature, measure))
        }
        guard let distillation = outcome.distillation else { return report.fail("kd", "no teacher") }
        let gt = zip(outcome.ground.mse, outcome.ground.vb).map { $0 + $1 }
        for (key, values) in [
            ("kd.mse", outcome.ground.mse), ("kd.vb", outcome.ground.vb), ("kd.gt", gt),
            ("kd.vb_kd", distillation.divergence), ("kd.kd_loss", distillation.kd), ("kd.feat_loss", outcome.features),
            ("kd.loss_per_sample", outcome.losses),
        ] { try compare(key, values, t, fixture, &report) }
        try report.compare("loss", [outcome.loss], .relative(t.contains(0) ? 1e-3 : 2e-5))
        var squares = 0.0
        for parameter in recoveryCase.parameters.trained {
            guard let node = parameter.node else { continue }
            let gradient = recoveryCase.step.gradients[node]?.array ?? []
            squares += gradient.reduce(0.0) { $0 + Double($1) * Double($1) }
            let key = "grad.\(parameter.names[0].dropFirst("student.".count))"
            if fixture.has(key) { try report.compare(key, gradient, .relative(1e-3)) }
        }
        try report.compare("grad_norm", [squares.squareRoot()], .relative(1e-3))
    }

    private static func logits(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        report.uses("logitkd.drop")
        let (x0, y, t) = (try fixture.tensor("x0"), try fixture.integers("y"), try fixture.integers("t"))
        let recoveryCase = try recoveryCase(fixture, .logits, rows: t.count)
        let labels = dropped(y, try fixture.integers("logitkd.drop"), recoveryCase.null)
        let outcome = try recoveryCase.step(
            x0: x0, labels: labels, teacherLabels: y, t: t, noise: fixture.tensor("noise"), recoveryCase.run,
            teacher: recoveryCase.teacherRun)
        guard let distillation = outcome.distillation else { return report.fail("logitkd", "no teacher") }
        for (key, values) in [
            ("mse", outcome.ground.mse), ("vb", outcome.ground.vb), ("vb_kd", distillation.divergence),
            ("kd_loss", distillation.kd), ("loss", outcome.losses),
            ("gt", zip(outcome.ground.mse, outcome.ground.vb).map { $0 + $1 }),
        ] { try compare("logitkd.\(key)", values, t, fixture, &report) }
    }

    /// Which entries are within the limits of their sample.
    private static func mask(_ feature: Tensor, _ measure: FeatureLoss) -> [Int] {
        let each = feature.shape.count / feature.shape[0]
        return (0..<feature.shape[0]).flatMap { sample in
            let values = feature.array[sample * each..<(sample + 1) * each].map(Double.init)
            let mean = values.reduce(0, +) / Double(each)
            let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(each - 1)
            return values.map { abs($0 - mean) < measure.sigmas * variance.squareRoot() ? 1 : 0 }
        }
    }
}
