import DiffAccel
import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor
import TestSupport

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
        if fixture.has("tf.gt_idx") { try GoldenSpecialisation.teacherForcing(parts, drafter, refiner, &report) }
        if fixture.has("kd.student") { try GoldenSpecialisation.losses(fixture, &report) }
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
}
