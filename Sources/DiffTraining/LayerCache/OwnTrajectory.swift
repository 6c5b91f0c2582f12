import DiffModels
import DiffSampling
import DiffTensor

/// The states that a router meets in use: samples on their way from noise, with the router learned so far.
///
/// The published training shows a router states of noised data only, so it never sees what earlier cached steps have done to the
/// state. Here a batch of samples goes down the sampler's steps; at each cached one the student's output is compared with the plain
/// network's at the same state, then the step is made as at inference, with guidance if the sampler has it.
///
/// An iteration ends after a cached call. A solver that makes one call a step continues from the state alone; one that makes two is then in the
/// middle of a step, and continues from where the step began and what the cached call gave.
final class OwnTrajectory {
    /// Samples per network call: twice the batch under guidance.
    let networkRows: Int

    private let settings: RouterSettings
    /// nil: the plain conditional prediction. Both predictions share a batch, as the router's step compares them.
    private let guidance: Guidance?
    private let null: Int?
    private let classRows: Int
    private let shape: Shape
    /// States between two iterations [batch, C, h, w]; the workspace's blocks are used again meanwhile.
    private let state: Tensor
    /// Where a solver makes several calls a step: what the network gave for `state`, from which the step continues.
    private let output: Tensor?
    private var labels: [Int] = []
    /// Position in the list of groups; 0: a new trajectory begins.
    private var position = 0

    init(
        _ network: any Denoiser, _ process: RouterProcess, _ settings: RouterSettings, _ sample: Shape,
        _ resources: LearningResources
    ) throws(DiffError) {
        (self.settings, null, classRows) = (settings, network.nullClass, network.classes)
        guard settings.guidance <= 1 || network.nullClass != nil else {
            throw DiffError(.unsupported, "guidance needs a null class; this model was trained without label dropout")
        }
        guard settings.guidanceChannels <= network.channels else {
            throw DiffError(.invalidArgument, "\(settings.guidanceChannels) guided channels of \(network.channels)")
        }
        guidance =
            settings.guidance > 1
            ? try Guidance(scale: settings.guidance, channels: .leading(settings.guidanceChannels)) : nil
        shape = try sample.withRows(settings.batch)
        state = try resources.tensor(shape)
        output = process.keepsHistory ? try resources.tensor(shape) : nil
        networkRows = guidance?.rows(settings.batch) ?? settings.batch
    }

    /// The full step of the next group, then `train` and a cached step for each of its other calls. `train` gets the call, network input and
    /// labels, and gives a report and which sub-layers the step computes.
    func step(
        _ groups: [CachedGroup], iteration: Int, labels source: BatchSource?, _ step: RouterStep, _ run: Run,
        train: (CachedCall, Tensor, [Int]) throws(DiffError) -> (LearningReport, [Bool])
    ) throws(DiffError) -> LearningReport {
        guard let group = groups.at(position) else { throw DiffError(.internal, "no group \(position)") }
        let labels = position == 0 ? start(iteration, source) : labels
        var sampler = step.process.sampler(at: position == 0 ? 0 : group.start)
        var x = try position == 0 ? noise(iteration, run) : held(state, run)
        if position == 0 {
            // The first group may not begin at the noisiest call: full ones lead to its own.
            for call in Indices(below: group.full) {
                x = try sampler.advance(
                    x, guided(step.full(input(x, run), labels: all(labels), call: call, run), run), run)
            }
        } else if let output {
            // The step's first call was the last iteration's cached one: its sub-layers are gone, what they gave is not.
            x = try sampler.advance(x, held(output, run), run)
        }
        let full = try step.full(input(x, run), labels: all(labels), call: group.full, run)
        x = try sampler.advance(x, guided(full, run), run)
        var (report, prediction): (LearningReport?, Tensor?)
        for cached in group.cached.each {
            let told = try train(cached, input(x, run), all(labels))
            report = report.map { $0.joined(told.0) } ?? told.0
            let raw = try step.cached(input(x, run), labels: all(labels), call: cached.call, computes: told.1, run)
            prediction = try guided(raw, run)
            if output == nil, let prediction { x = try sampler.advance(x, prediction, run) }
        }
        guard let report, let prediction else { throw DiffError(.internal, "a group without cached steps") }
        run.copyContents(of: x, to: state)
        if let output { run.copyContents(of: prediction, to: output) }
        self.labels = labels
        position = position &+ 1 < groups.count ? position &+ 1 : 0
        return report
    }

    private func start(_ iteration: Int, _ source: BatchSource?) -> [Int] {
        if let source { return source.indices(iteration).each.map(source.data.label) }
        var draws = StepDraws(seed: settings.seed, step: iteration, purpose: 4)
        return draws.indices(settings.batch, below: classRows)
    }

    private func input(_ x: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guidance == nil ? x : try run.doubled(x)
    }

    private func all(_ labels: [Int]) -> [Int] {
        guard guidance != nil, let null else { return labels }
        return GuidanceRows.both.labels(labels, null: null)
    }

    private func guided(_ output: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        guard let guidance else { return output }
        let half = output.shape[0] / 2
        return try guidance.combined(output.rows(0, half), output.rows(half, half), run)
    }

    private func noise(_ iteration: Int, _ run: Run) throws(DiffError) -> Tensor {
        var draws = StepDraws(seed: settings.seed, step: iteration, purpose: 3)
        return try draws.normal(shape, run)
    }

    private func held(_ tensor: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        let copy = try run.workspace.take(shape)
        run.copyContents(of: tensor, to: copy)
        return copy
    }

    /// Bytes of what is kept between two iterations.
    var heldBytes: Int { Checked.sum(state.storage.byteCount, output?.storage.byteCount ?? 0) }

    func save(in learning: inout LearningState) {
        learning.tensors.put(state, for: "trajectory")
        if let output { learning.tensors.put(output, for: "trajectory.output") }
        learning.integers.put(labels, for: "trajectory.labels")
        learning.integers.put([position], for: "trajectory.position")
    }

    /// Resumes from a saved state whose position is one of `groups` groups. Throws `format`; nothing has changed then.
    func restore(_ learning: LearningState, groups: Int) throws(DiffError) {
        guard let labels = learning.integers["trajectory.labels"],
            let position = learning.integers["trajectory.position"]?.first, position < max(1, groups),
            labels.count == settings.batch || position == 0, labels.allSatisfy({ $0 < classRows })
        else { throw DiffError(.format, "the state has no trajectory of this size") }
        if let output {
            // Both or neither.
            guard learning.tensors["trajectory"]?.shape.count == shape.count else {
                throw DiffError(.format, "the state has no trajectory of this size")
            }
            try learning.copy("trajectory.output", to: output)
        }
        try learning.copy("trajectory", to: state)
        (self.labels, self.position) = (labels, position)
    }
}

extension LearningReport {
    /// The report of a step that made both this one and `next`.
    func joined(_ next: LearningReport) -> LearningReport {
        var sum = next
        sum.loss += loss
        sum.gradientNorm = (gradientNorm * gradientNorm + next.gradientNorm * next.gradientNorm).squareRoot()
        return sum
    }
}
