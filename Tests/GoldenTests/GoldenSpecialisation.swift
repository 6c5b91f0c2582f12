import DiffAccel
import DiffCheckpoint
import DiffModels
import DiffTensor
import DiffTraining

/// The part of `code-collab` that is about learning: teacher-forced logits and losses of both networks, and the loss file.
enum GoldenSpecialisation {
    static func teacherForcing(
        _ parts: CodeFixture, _ drafter: VAR, _ refiner: VAR, _ report: inout GoldenReport
    ) throws {
        let (fixture, schedule) = (parts.fixture, parts.schedule)
        report.uses("tf.gt_idx")
        let tokens = parts.scales(try fixture.integers("tf.gt_idx"))
        let run = Run(pool: nil, budget: nil)
        let codes = try parts.codes.teacherCodes(parts.codes.states(tokens, run), run)
        try report.compare("tf.drafter.logits", drafter(codes, labels: parts.labels, run), CodeTolerance.logits)
        try report.compare("tf.refiner.logits", refiner(codes, labels: parts.labels, run), CodeTolerance.logits)
        // The networks once more, for learning.
        let sets = (Parameters { _ in true }, Parameters { _ in true })
        let students = (
            try parts.network("drafter", learning: sets.0), try parts.network("refiner", learning: sets.1)
        )
        for n in 1..<schedule.count where fixture.has("tf.N\(n).drafter_ce") {
            let draft = try SpecialisationStep(
                students.0, sets.0, teacher: nil, parts.codes, SpecialisationSettings(.drafter, draftScales: n),
                budget: nil)
            let refinement = try SpecialisationStep(
                students.1, sets.1, teacher: drafter, parts.codes, SpecialisationSettings(.refiner, draftScales: n),
                budget: nil)
            let ce = try draft(tokens, labels: parts.labels, run, teacher: run.withoutAcceleration())
            let kl = try refinement(tokens, labels: parts.labels, run, teacher: run.withoutAcceleration())
            try report.compare("tf.N\(n).drafter_ce", [ce.loss], CodeTolerance.losses)
            try report.compare("tf.N\(n).refiner_kl", [kl.loss], CodeTolerance.losses)
        }
    }

    /// The loss file of the published code.
    static func losses(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        report.uses("kd.student", "kd.teacher", "kd.labels")
        let (student, teacher) = (try fixture.tensor("kd.student"), try fixture.tensor("kd.teacher"))
        let codes = try fixture.integers("kd.labels")
        let run = Run(pool: nil, budget: nil)
        for name in fixture.keys("kd.").filter({ $0.hasSuffix(".loss") }).map({ String($0.dropLast(5)) }) {
            let settings = name.dropFirst(3).split(separator: "_")
            guard let t = Double(settings[0].dropFirst()) else { report.fail(name, "no temperature"); continue }
            let alpha = settings.count > 1 ? Double(settings[1].dropFirst(5)) ?? 1 : 1
            let gradient = try run.workspace.take(student.shape)
            let terms = try TokenLoss(divergenceShare: alpha, temperature: t).evaluate(
                student: student, teacher: teacher, codes: codes, writingTo: gradient, run)
            try report.compare("\(name).loss", [terms.loss], CodeTolerance.losses)
            try report.compare("\(name).grad_student", gradient, CodeTolerance.losses)
        }
        for key in fixture.keys("kd.rows_T") {
            guard let t = Double(key.dropFirst("kd.rows_T".count)) else { continue }
            let costing = TokenCosting(temperature: t, smoothing: 0, divergenceWeight: 1, entropyWeight: 0)
            let costs = try run.tokenCosts(
                of: student, teacher: teacher, targets: codes, costing, writingTo: run.workspace.take(student.shape))
            try report.compare(key, costs.divergences, CodeTolerance.losses)
        }
    }
}
