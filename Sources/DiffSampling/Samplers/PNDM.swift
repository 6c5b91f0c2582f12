import DiffTensor

/// Pseudo linear multistep (Liu et al. 2022): the last four predictions in the weights of Adams-Bashforth, started by two evaluations of the
/// first step (PLMS) or by four Runge-Kutta ones of each of three steps. Source: `step_plms`, `step_prk` and `_get_prev_sample` (equation 9
/// of the paper) of diffusers' `PNDMScheduler`.
struct PNDMSampler: Sampler {
    static let entry = SamplerEntry(
        "pndm", "PNDMScheduler",
        keys: ["timestep_spacing", "steps_offset", "set_alpha_to_one", "skip_prk_steps"], spacing: .leading
    ) { (c, steps, _) throws(DiffError) in try PNDMSampler(c, steps.counted(by: "pndm"), c.process()) }

    /// Where one evaluation stands and where it leads.
    private struct Evaluation {
        let timestep: Int, step: Int, stage: Int
        /// The update's beginning and end.
        var from: Int, to: Int
    }

    let steps: Int
    private let evaluations: [Evaluation]
    /// Evaluations that belong to the Runge-Kutta start: 0 or 12.
    private let started: Int
    private let stride: Int
    private let alphas: [Double]
    private let finalAlpha: Double
    private let prediction: PredictionType
    private var position = 0
    /// Evaluations made in this run, wherever it began.
    private var made = 0
    private var outputs = TensorHistory(limit: 4)
    /// State at the beginning of a step that takes several evaluations, and what these have added up to.
    private var kept: Tensor?
    private var sum: Tensor?

    private init(_ c: SchedulerConfiguration, _ count: Int, _ process: DiffusionProcess) throws(DiffError) {
        guard process.prediction != .sample else {
            throw DiffError(
                .unsupported, "sampler pndm needs a model that predicts epsilon or v, not the sample; ddim takes all")
        }
        let skips = c.skipsRungeKutta ?? false
        guard skips || count >= 4 else {
            throw DiffError(
                .invalidArgument, "sampler pndm with skip_prk_steps false needs at least 4 steps, found \(count)")
        }
        let t = try (c.spacing ?? .leading).timesteps(count, of: process.trainSteps, offset: c.stepsOffset ?? 0)
        // Updates go to t - ⌊T / n⌋ whatever the spacing, as in the reference: for trailing and linspace that is not the next entry.
        let stride = process.trainSteps / max(1, count)
        evaluations = skips ? Self.multistep(t, stride) : Self.rungeKutta(t, stride)
        started = skips ? 0 : 12
        alphas = try process.alphasCumulative()
        finalAlpha = c.endsClean ?? false ? 1 : alphas.first ?? 1
        (steps, self.stride, prediction) = (count, stride, process.prediction)
    }

    /// t_0, t_1 twice, t_2, …
    private static func multistep(_ t: [Int], _ stride: Int) -> [Evaluation] {
        var all: [Evaluation] = []
        for (step, timestep) in t.numbered {
            all.append(Evaluation(timestep: timestep, step: step, stage: 0, from: timestep, to: timestep &- stride))
            // The second step begins with another look at where the first one led, which corrects that one.
            if step == 1 {
                all.append(Evaluation(timestep: timestep, step: step, stage: 1, from: timestep, to: timestep &- stride))
            }
        }
        return all
    }

    /// Three steps of four evaluations each, then the others.
    private static func rungeKutta(_ t: [Int], _ stride: Int) -> [Evaluation] {
        let half = stride / 2
        var all: [Evaluation] = []
        for step in Indices(below: 3) {
            let (from, next) = (t.at(step) ?? 0, t.at(step &+ 1) ?? 0)
            let looks = [(from, from &- half), (next &+ half, next &+ half), (next &+ half, next), (next, next)]
            for (stage, look) in looks.numbered {
                all.append(Evaluation(timestep: look.0, step: step, stage: stage, from: from, to: look.1))
            }
        }
        for (step, timestep) in t.numbered where step >= 3 {
            all.append(Evaluation(timestep: timestep, step: step, stage: 0, from: timestep, to: timestep &- stride))
        }
        return all
    }

    var name: String { "pndm" }
    var calls: CallCount { .exactly(evaluations.count) }
    var timesteps: [Double] { evaluations.map { Double($0.timestep) } }

    var call: SamplerCall? {
        evaluations.at(position).map { SamplerCall(timestep: Double($0.timestep), step: $0.step, stage: $0.stage) }
    }

    mutating func start(at call: Int) { position = call }

    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard let now = evaluations.at(position) else { throw exhausted }
        return try transition(now.timestep, now.to).noised(clean, noise, run)
    }

    private func transition(_ from: Int, _ to: Int) -> DiffusionTransition {
        DiffusionTransition(
            timestep: from, alpha: alphas.at(from) ?? 1, previous: to < 0 ? finalAlpha : alphas.at(to) ?? finalAlpha)
    }

    mutating func step(
        _ x: Tensor, _ output: Tensor, _ run: Run, draw: NoiseDraw
    ) throws(DiffError) -> SamplerStep {
        guard let now = evaluations.at(position) else { throw exhausted }
        defer {
            position &+= 1
            made &+= 1
        }
        let output = try run.channels(output, 0, x.shape[1])
        if made < started { return try rungeKutta(x, output, now, run) }
        // The averaging call comes second in a run, also in one that begins inside the list, as diffusers counts it.
        if started == 0, made == 1, let first = outputs[0], let begin = kept {
            kept = nil
            let mean = try run.combine(0.5, output, 0.5, first)
            return try moved(begin, mean, now.timestep &+ stride, now.timestep, run)
        }
        outputs.push(output)
        if started == 0, made == 0 { kept = x }
        return try moved(x, try extrapolated(output, run), now.timestep, now.timestep &- stride, run)
    }

    private mutating func rungeKutta(
        _ x: Tensor, _ output: Tensor, _ now: Evaluation, _ run: Run
    ) throws(DiffError) -> SamplerStep {
        let stage = made % 4
        if stage == 0 {
            outputs.push(output)
            kept = x
        }
        let begin = kept ?? x
        let weight: Float = stage == 0 || stage == 3 ? 1 / 6 : 1 / 3
        let total =
            if let sum { try run.combine(1, sum, weight, output) } else { try run.scaled(output, weight) }
        sum = stage == 3 ? nil : total
        return try moved(begin, stage == 3 ? total : output, now.from, now.to, run)
    }

    /// The newest prediction and those before in the weights of Adams-Bashforth of order 1...4: as many as are known.
    private func extrapolated(_ output: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard let second = outputs[1] else { return output }
        guard let third = outputs[2] else { return try run.combine(1.5, output, -0.5, second) }
        guard let fourth = outputs[3] else {
            let sum = try run.combine(23 / 12, output, -16 / 12, second)
            return try run.combine(1, sum, 5 / 12, third)
        }
        let sum = try run.combine(55 / 24, output, -59 / 24, second)
        return try run.combine(1, run.combine(1, sum, 37 / 24, third), -9 / 24, fourth)
    }

    /// x at `from` moved to `to` by a prediction, which is turned into ε here: v of several timesteps are combined as they are.
    private func moved(
        _ x: Tensor, _ output: Tensor, _ from: Int, _ to: Int, _ run: Run
    ) throws(DiffError) -> SamplerStep {
        let t = transition(from, to)
        let clean = try t.clean(x, output, prediction, run)
        let noise = try t.noise(x, output, clean, prediction, run)
        let (a, p) = (t.alpha, t.previous)
        // Equation 9 of the paper, which is DDIM's step with the difference of the deviations written as a quotient, so that nothing cancels.
        let divisor = a * (1 - p).squareRoot() + (a * (1 - a) * p).squareRoot()
        let state = try run.combine(Float((p / a).squareRoot()), x, Float(-(p - a) / divisor), noise)
        return SamplerStep(state, predictedClean: clean)
    }
}
