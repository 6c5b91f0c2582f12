import DiffModels
import DiffSampling
import DiffTensor

/// The states that a router meets in use: samples on their way from noise, with the router learned so far.
///
/// The published training shows a router states of noised data only, so it never sees what earlier cached steps have done to the
/// state. Here a batch of samples goes down the sampler's steps; at each cached one the student's output is compared with the plain
/// network's at the same state, then the step is made as at inference, with guidance if the sampler has it.
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
    private var labels: [Int] = []
    /// Position in the list of groups; 0: a new trajectory begins.
    private var position = 0

    init(
        _ network: any Denoiser, _ process: RouterProcess, _ settings: RouterSettings, _ sample: Shape,
        _ resources: LearningResources
    ) throws(DiffError) {
        (self.settings, null, classRows) = (settings, network.nullClass, network.classes)
        guard !process.keepsHistory else {
            throw DiffError(
                .unsupported,
                "trajectory \"own\": this model's solver makes several network calls a step, and a trajectory cannot be left between "
                    + "them; use the trajectory \"data\"")
        }
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
        var x = try run.workspace.take(shape)
        if position == 0 {
            var draws = StepDraws(seed: settings.seed, step: iteration, purpose: 3)
            x = try draws.normal(shape, run)
            // With an even number of steps the first group begins at the noisiest one; else plain steps lead to it.
            var sampler = step.process.sampler(at: 0)
            for call in Indices(below: group.full) {
                x = try advance(x, step.full(input(x, run), labels: all(labels), call: call, run), &sampler, run)
            }
        } else {
            run.copyContents(of: state, to: x)
        }
        var sampler = step.process.sampler(at: group.full)
        x = try advance(x, step.full(input(x, run), labels: all(labels), call: group.full, run), &sampler, run)
        var report: LearningReport?
        for cached in group.cached.each {
            let told = try train(cached, input(x, run), all(labels))
            report = report.map { $0.joined(told.0) } ?? told.0
            let output = try step.cached(input(x, run), labels: all(labels), call: cached.call, computes: told.1, run)
            x = try advance(x, output, &sampler, run)
        }
        guard let report else { throw DiffError(.internal, "a group without cached steps") }
        run.copyContents(of: x, to: state)
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

    private func advance(
        _ x: Tensor, _ output: Tensor, _ sampler: inout any Sampler, _ run: Run
    ) throws(DiffError) -> Tensor {
        var output = output
        if let guidance {
            let half = x.shape[0]
            output = try guidance.combined(output.rows(0, half), output.rows(half, half), run)
        }
        return try sampler.advance(x, output, run)
    }

    /// Bytes of the states between two iterations.
    var heldBytes: Int { state.storage.byteCount }

    func save(in learning: inout LearningState) {
        learning.tensors.put(state, for: "trajectory")
        learning.integers.put(labels, for: "trajectory.labels")
        learning.integers.put([position], for: "trajectory.position")
    }

    /// Goes on from a saved state whose position is one of `groups` groups. Throws `format`; nothing has changed then.
    func restore(_ learning: LearningState, groups: Int) throws(DiffError) {
        guard let labels = learning.integers["trajectory.labels"],
            let position = learning.integers["trajectory.position"]?.first, position < max(1, groups),
            labels.count == settings.batch || position == 0, labels.allSatisfy({ $0 < classRows })
        else { throw DiffError(.format, "the state has no trajectory of this size") }
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
