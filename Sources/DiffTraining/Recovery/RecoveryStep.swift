public import DiffModels
import DiffSampling
public import DiffTensor

/// How a pruned network learns to be good again.
public enum RecoveryMethod: Sendable, Equatable {
    /// The ordinary training loss alone.
    case plain
    /// A teacher's outputs beside it. The published code gives the teacher the true labels where the student's were dropped.
    case logits
    /// A teacher's outputs and block outputs: pairs (student block, teacher block).
    case masked([LayerPair], FeatureLoss)

    /// Two blocks whose outputs are compared.
    public struct LayerPair: Sendable, Equatable {
        /// Positions in the student's and the teacher's block list.
        public let student: Int, teacher: Int

        /// A pair of positions.
        public init(student: Int, teacher: Int) { (self.student, self.teacher) = (student, teacher) }
    }
}

/// The forward and backward pass of one recovery step, all random draws given.
///
/// Source: TinyFusion (arXiv 2412.01199), `train.py` and `train_masked_kd.py`. Used by one thread.
public final class RecoveryStep {
    /// What a pass showed.
    public struct Outcome: Sendable {
        /// The ordinary terms.
        public let ground: DiffusionLoss.Terms
        /// Those of the distillation, where there is a teacher.
        public let distillation: DistillationLoss.Terms?
        /// Feature loss per sample, averaged over the pairs; empty without pairs.
        public let features: [Double]
        /// Loss per sample.
        public let losses: [Double]
        /// Block outputs compared, by position: the student's and the teacher's.
        public let studentFeatures: [Int: Tensor], teacherFeatures: [Int: Tensor]
        /// Mean loss.
        public var loss: Double { losses.mean }
    }

    /// Gradients of the trained parameters after a pass.
    public let gradients: ParameterGradients
    /// The loss without a teacher.
    public var ordinaryLoss: DiffusionLoss { loss.ground }
    private let student: any TrainableDenoiser
    private let teacher: (any TrainableDenoiser)?
    private let method: RecoveryMethod
    private let loss: DistillationLoss
    private let studentTap, teacherTap: FeatureTap
    private let recomputes: Bool

    /// A step of `student`, whose `parameters` were noted while it was loaded. Throws `invalidArgument` when a teacher is missing,
    /// `incompatible` when its states, tokens or width are others.
    public init(
        _ student: any TrainableDenoiser, _ parameters: Parameters, teacher: (any TrainableDenoiser)?,
        _ method: RecoveryMethod, _ loss: DistillationLoss,
        budget: MemoryBudget?, recomputes: Bool = false, isVirtual: Bool = false
    ) throws(DiffError) {
        (self.student, self.teacher, self.method, self.loss) = (student, teacher, method, loss)
        self.recomputes = recomputes
        var pairs: [RecoveryMethod.LayerPair] = []
        if case .masked(let given, _) = method { pairs = given }
        if method != .plain {
            guard let teacher else { throw DiffError(.invalidArgument, "distillation needs a teacher") }
            let (s, t) = (student, teacher)
            guard s.channels == t.channels, s.predictedChannels == t.predictedChannels, s.side == t.side,
                s.classRows == t.classRows
            else { throw DiffError(.incompatible, "the teacher's states, outputs or classes are not the student's") }
            guard pairs.isEmpty || (s.width == t.width && s.tokens == t.tokens) else {
                throw DiffError(.incompatible, "features of width \(t.width) cannot teach a width of \(s.width)")
            }
        }
        studentTap = FeatureTap(pairs.map(\.student))
        teacherTap = FeatureTap(pairs.map(\.teacher))
        gradients = try ParameterGradients(parameters, budget: budget, isVirtual: isVirtual)
    }

    /// The methods of the run that the student learns in.
    public var stack: AccelerationStack { AccelerationStack([studentTap]) }
    /// The methods of the run that the teacher answers in.
    public var teacherStack: AccelerationStack { AccelerationStack([teacherTap]) }

    /// One pass over `x0` [batch, C, h, w]: the student with `labels` (after label dropout), the teacher with `teacherLabels` in a run
    /// of its own. `featureWeight` is β of the feature loss.
    public func callAsFunction(
        x0: Tensor, labels: [Int], teacherLabels: [Int], t: [Int], noise: Tensor, featureWeight: Double = 0, _ run: Run,
        teacher teacherRun: Run
    ) throws(DiffError) -> Outcome {
        defer {
            studentTap.clear()
            teacherTap.clear()
        }
        gradients.clear()
        let xt = try loss.ground.noised(x0, noise, t, run)
        let target = try teach(xt, teacherLabels, t, teacherRun)
        let times = try run.tensor(t.map(Float.init), Shape(t.count))
        let tape = Tape(gradients, recomputes: recomputes)
        return try run.recording(tape) { () throws(DiffError) in
            let output = try student(xt, t: times, y: labels, run)
            // A block that is computed again in the backward pass must not be taken for a new one.
            let features = studentTap.features
            studentTap.isOpen = false
            defer { studentTap.isOpen = true }
            let gradient = try run.zeros(output.shape)
            var distillation: DistillationLoss.Terms?
            let ground: DiffusionLoss.Terms
            if let target {
                let terms = try loss.evaluate(
                    student: output, teacher: target, x0: x0, xt: xt, noise: noise, t: t, addingTo: gradient)
                (distillation, ground) = (terms, terms.ground)
            } else {
                ground = try loss.ground.evaluate(output, x0: x0, xt: xt, noise: noise, t: t, addingTo: gradient)
            }
            let featureLosses = try compare(features, featureWeight, samples: t.count, tape, run)
            try tape.pass(gradient, to: output, run)
            try tape.backward(run)
            var plain: [Int: Tensor] = [:]
            for (block, feature) in features { plain.put(feature.detached, for: block) }
            return Outcome(
                ground: ground, distillation: distillation, features: featureLosses,
                losses: losses(ground, distillation, featureLosses, featureWeight),
                studentFeatures: plain, teacherFeatures: teacherTap.features)
        }
    }

    private func teach(_ xt: Tensor, _ labels: [Int], _ t: [Int], _ run: Run) throws(DiffError) -> Tensor? {
        guard let teacher, method != .plain else { return nil }
        return try teacher(xt, t: run.tensor(t.map(Float.init), Shape(t.count)), y: labels, run)
    }

    /// Feature losses per sample; their gradients start on `tape`.
    private func compare(
        _ features: [Int: Tensor], _ weight: Double, samples: Int, _ tape: Tape, _ run: Run
    ) throws(DiffError) -> [Double] {
        guard case .masked(let pairs, let measure) = method, !pairs.isEmpty else { return [] }
        var means = Array(repeating: 0.0, count: max(0, samples))
        for pair in pairs.each {
            guard let mine = features[pair.student], let theirs = teacherTap.features[pair.teacher] else {
                throw DiffError(.internal, "a block to compare was not reached")
            }
            let gradient = try run.workspace.take(mine.shape)
            let losses = try measure.evaluate(
                student: mine, teacher: theirs, weight: weight / Double(max(1, samples &* pairs.count)),
                writingTo: gradient)
            for (sample, loss) in losses.numbered { means.update(at: sample) { $0 += loss / Double(pairs.count) } }
            if weight != 0 { try tape.pass(gradient, to: mine, run) }
        }
        return means
    }

    private func losses(
        _ ground: DiffusionLoss.Terms, _ distillation: DistillationLoss.Terms?, _ features: [Double], _ weight: Double
    ) -> [Double] {
        let kd = distillation?.kd
        return ground.mse.numbered.map { (sample, mse) in
            let ordinary = mse + (ground.vb.at(sample) ?? 0)
            let feature = weight * (features.at(sample) ?? 0)
            guard let kd else { return ordinary + feature }
            return loss.distillationWeight * (kd.at(sample) ?? 0) + loss.groundWeight * ordinary + feature
        }
    }
}
