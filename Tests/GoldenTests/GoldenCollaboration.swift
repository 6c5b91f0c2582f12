import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import Foundation
import TestSupport

func exponential(_ x: Double) -> Double { exp(x) }
func logarithm(_ x: Double) -> Double { log(x) }

/// `code-collab`: CoDe with a drafter and a refiner, for every recorded hand-over; teacher-forced logits and losses of both.
enum GoldenCollaboration {
    static func check(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        let parts = try CodeFixture(fixture)
        let (drafter, refiner) = (try parts.network("drafter"), try parts.network("refiner"))
        report.uses("label")
        for n in try fixture.config.integers("draft_steps", in: 1...1000) {
            for mode in try parts.cases where !fixture.keys("N\(n).\(mode).").isEmpty {
                try handOver(parts, drafter, refiner, n, mode, &report)
            }
        }
        if fixture.has("tf.gt_idx") { try teacherForcing(parts, drafter, refiner, &report) }
        if fixture.has("kd.student") { try distillation(fixture, &report) }
        try identity(parts, drafter, &report)
    }

    private static func handOver(
        _ parts: CodeFixture, _ drafter: VAR, _ refiner: VAR, _ n: Int, _ mode: String, _ report: inout GoldenReport
    ) throws {
        let key = "N\(n).\(mode)"
        let options = try CodeOptions(parts, mode, key)
        let probe = CodeProbe()
        let outcome = try CodeRun(
            parts, [drafter, refiner], options, parts.draws(key, &report), probe, draftScales: n)
        try outcome.compare(key, &report)
        try report.compare("\(key).draft_f_hat", outcome.states[n - 1], CodeTolerance.maps)
        try report.compare("\(key).token_hub", outcome.hub(through: n), CodeTolerance.maps)
        if parts.fixture.has("\(key).final_f_hat") {
            try report.compare(
                "\(key).final_f_hat", outcome.states[parts.schedule.count - 1], CodeTolerance.maps)
        }
        if parts.fixture.has("\(key).refine.x_in") {
            try report.compare("\(key).refine.x_in", probe.input(n, "blocks.0"), CodeTolerance.maps)
        }
        for cacheKey in parts.fixture.keys("\(key).refine.cache_") {
            // Later scales only add to a cache: its first tokens are those after the entry.
            guard let cache = outcome.cache(cacheKey, network: 1) else {
                report.fail(cacheKey, "the refiner has no cache")
                continue
            }
            try report.compare(
                cacheKey, CodeRun.byHead(cache, refiner, tokens: parts.schedule.offset(n + 1)), CodeTolerance.hidden)
        }
        guard let seed = options.seed else { return }
        let seeded = try CodeRun(
            parts, [drafter, refiner], options, ScaleDraws(seed: seed), CodeProbe(), draftScales: n)
        for (scale, tokens) in seeded.tokens.enumerated() {
            try report.compare("\(key).idx.\(scale)", integers: tokens)
        }
    }

    /// A drafter that is its own refiner is the plain model, bit for bit, wherever it hands over to itself.
    private static func identity(_ parts: CodeFixture, _ drafter: VAR, _ report: inout GoldenReport) throws {
        guard let name = try parts.cases.last else { return }
        let options = try CodeOptions(parts, name, "")
        let plain = try CodeRun(parts, [drafter], options, ScaleDraws(seed: 5), CodeProbe())
        for n in 1..<parts.schedule.count {
            let pair = try CodeRun(
                parts, [drafter, drafter], options, ScaleDraws(seed: 5), CodeProbe(), draftScales: n)
            if pair.tokens != plain.tokens || !sameBits(pair.image.array, plain.image.array) {
                report.fail("identity", "a hand-over to itself after \(n) scales changes something")
            }
        }
    }

    private static func teacherForcing(
        _ parts: CodeFixture, _ drafter: VAR, _ refiner: VAR, _ report: inout GoldenReport
    ) throws {
        let (fixture, schedule) = (parts.fixture, parts.schedule)
        report.uses("tf.gt_idx")
        let flat = try fixture.integers("tf.gt_idx")
        let run = Run(pool: nil, budget: nil)
        let codes = try parts.codes.teacherCodes(parts.codes.states(parts.scales(flat), run), run)
        let teacher = try drafter(codes, labels: parts.labels, run)
        let student = try refiner(codes, labels: parts.labels, run)
        try report.compare("tf.drafter.logits", teacher, CodeTolerance.logits)
        try report.compare("tf.refiner.logits", student, CodeTolerance.logits)
        let width = teacher.shape.last
        for n in 1..<schedule.count where fixture.has("tf.N\(n).drafter_ce") {
            let seen = schedule.offset(n)
            let first = try run.tokens(codes, 0, seen - 1)
            let drafted = try drafter(first, labels: parts.labels, run)
            let targets = parts.labels.indices.flatMap { flat[$0 * schedule.tokens..<$0 * schedule.tokens + seen] }
            let ce = CodeLosses.crossEntropy(drafted, targets)
            try report.compare(
                "tf.N\(n).drafter_ce", [ce.reduce(0, +) / Double(ce.count)], CodeTolerance.losses)
            let rest = schedule.tokens - seen
            let rows = CodeLosses.divergence(
                CodeLosses.logProbabilities(try run.tokens(teacher, seen, rest).array, width),
                CodeLosses.logProbabilities(try run.tokens(student, seen, rest).array, width))
            try report.compare(
                "tf.N\(n).refiner_kl", [rows.reduce(0, +) / Double(rows.count)], CodeTolerance.losses)
        }
    }

    private static func distillation(_ fixture: GoldenFixture, _ report: inout GoldenReport) throws {
        report.uses("kd.student", "kd.teacher", "kd.labels")
        let width = try fixture.shape("kd.student")[1]
        let (student, teacher) = (try fixture.floats("kd.student"), try fixture.floats("kd.teacher"))
        let labels = try fixture.integers("kd.labels")
        let rows = Double(labels.count)
        let cases = fixture.keys("kd.").filter { $0.hasSuffix(".loss") }.map { String($0.dropLast(5)) }
        for name in cases {
            let settings = name.dropFirst(3).split(separator: "_")
            guard let t = Double(settings[0].dropFirst()) else { report.fail(name, "no temperature"); continue }
            let alpha = settings.count > 1 ? Double(settings[1].dropFirst(5)) ?? 1 : 1
            let s = CodeLosses.logProbabilities(student, width, temperature: t)
            let q = CodeLosses.logProbabilities(teacher, width, temperature: t)
            let plain = CodeLosses.logProbabilities(student, width)
            let kl = CodeLosses.divergence(q, s)
            let ce = zip(plain, labels).map { -$0[$1] }
            let loss = alpha * t * t * kl.reduce(0, +) / rows + (1 - alpha) * ce.reduce(0, +) / rows
            try report.compare("\(name).loss", [loss], CodeTolerance.losses)
            var gradient: [Double] = []
            for (row, label) in labels.enumerated() {
                for v in 0..<width {
                    let divergence: Double = exponential(s[row][v]) - exponential(q[row][v])
                    let error: Double = exponential(plain[row][v]) - (label == v ? 1 : 0)
                    gradient.append((alpha * t * divergence + (1 - alpha) * error) / rows)
                }
            }
            try report.compare("\(name).grad_student", gradient, CodeTolerance.losses)
        }
        for key in fixture.keys("kd.rows_T") {
            guard let t = Double(key.dropFirst("kd.rows_T".count)) else { continue }
            let s = CodeLosses.logProbabilities(student, width, temperature: t)
            let q = CodeLosses.logProbabilities(teacher, width, temperature: t)
            try report.compare(key, CodeLosses.divergence(q, s).map { t * t * $0 }, CodeTolerance.losses)
        }
    }
}
