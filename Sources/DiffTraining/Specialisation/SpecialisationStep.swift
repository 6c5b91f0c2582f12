public import DiffModels
public import DiffTensor

/// The forward and backward pass of one step of specialised fine-tuning, labels after their dropout given.
///
/// A drafter sees and learns the first scales only; a refiner sees all of them and learns the others. The teacher answers to the same
/// codes and labels. Source: Chen et al., CoDe (arXiv 2411.17787). Used by one thread.
public final class SpecialisationStep {
    /// Gradients of the trained parameters after a pass.
    public let gradients: ParameterGradients
    private let student: VAR
    private let teacher: VAR?
    private let codes: ScaleQuantizer
    private let loss: TokenLoss
    /// Number of input scales, and the first scale whose codes are learned, as are those of all later ones.
    private let inputs: Int, first: Int
    private let recomputes: Bool

    /// A step of `student`, whose `parameters` were noted while it was loaded, over the codebook `codes`. Throws `invalidArgument` for a
    /// number of drafted scales that leaves nothing to learn or a missing teacher, `incompatible` when codes, scales or classes of
    /// student and teacher differ.
    public init(
        _ student: VAR, _ parameters: Parameters, teacher: VAR?, _ codes: ScaleQuantizer,
        _ settings: SpecialisationSettings, budget: MemoryBudget?, isVirtual: Bool = false
    ) throws(DiffError) {
        let c = student.configuration
        guard settings.draftScales < c.schedule.count || settings.role == .drafter,
            settings.draftScales <= c.schedule.count
        else {
            throw DiffError(
                .invalidArgument,
                "draft_scales: \(settings.draftScales) of \(c.schedule.count) scales leave a \(settings.role.rawValue) "
                    + "nothing to learn")
        }
        if settings.needsTeacher {
            guard let other = teacher?.configuration else {
                throw DiffError(.invalidArgument, "a refiner learns from a teacher")
            }
            guard other.schedule == c.schedule, other.vocabulary == c.vocabulary,
                other.codeChannels == c.codeChannels, other.classes == c.classes
            else { throw DiffError(.incompatible, "the teacher's codes, scales or classes are not the student's") }
        }
        guard codes.vocabulary == c.vocabulary, codes.channels == c.codeChannels, codes.schedule == c.schedule else {
            throw DiffError(.incompatible, "the VQ-VAE's codes or scales are not the student's")
        }
        (self.student, self.codes, loss) = (student, codes, settings.loss)
        self.teacher = settings.needsTeacher ? teacher : nil
        switch settings.role {
        case .drafter: (first, inputs) = (0, settings.draftScales)
        case .refiner: (first, inputs) = (settings.draftScales, c.schedule.count)
        }
        recomputes = settings.training.recomputes
        gradients = try ParameterGradients(parameters, budget: budget, isVirtual: isVirtual)
    }

    /// One pass over samples with these codes of all scales, [scale][sample · side²], and labels; ``gradients`` are those of the loss.
    /// The teacher answers in `teacherRun`. Throws `shape`, `invalidArgument` for a code or label outside its table.
    public func callAsFunction(
        _ tokens: [[Int]], labels: [Int], _ run: Run, teacher teacherRun: Run
    ) throws(DiffError) -> TokenLoss.Terms {
        gradients.clear()
        let views = try views(tokens, labels.count, run)
        let wanted = try answer(views, labels, teacherRun)
        let tape = Tape(gradients, recomputes: recomputes)
        return try run.recording(tape) { () throws(DiffError) in
            let logits = try student(views, labels: labels, from: first, run)
            let gradient = try run.workspace.take(logits.shape)
            let terms = try loss.evaluate(
                student: logits.detached, teacher: wanted, codes: targets(tokens, labels.count), writingTo: gradient,
                run)
            try tape.pass(gradient, to: logits, run)
            try tape.backward(run)
            return terms
        }
    }

    /// The terms of the loss alone: nothing is recorded.
    public func evaluate(
        _ tokens: [[Int]], labels: [Int], _ run: Run, teacher teacherRun: Run
    ) throws(DiffError) -> TokenLoss.Terms {
        let views = try views(tokens, labels.count, run)
        let wanted = try answer(views, labels, teacherRun)
        let logits = try student(views, labels: labels, from: first, run)
        return try loss.evaluate(
            student: logits, teacher: wanted, codes: targets(tokens, labels.count),
            writingTo: run.workspace.take(logits.shape), run)
    }

    /// What the input scales see of the image: [samples, tokens - 1, channels].
    private func views(_ tokens: [[Int]], _ samples: Int, _ run: Run) throws(DiffError) -> Tensor {
        guard inputs > 1 else { return try run.workspace.take(Shape(samples, 0, codes.channels)) }
        return try codes.teacherCodes(codes.states(Array(tokens.prefix(inputs &- 1)), run), run)
    }

    private func answer(_ views: Tensor, _ labels: [Int], _ run: Run) throws(DiffError) -> Tensor? {
        try teacher.map { (teacher) throws(DiffError) in
            try teacher(views, labels: labels, from: first, run)
        }
    }

    /// Codes of the learned scales, a sample after the other.
    private func targets(_ tokens: [[Int]], _ samples: Int) -> [Int] {
        var targets: [Int] = []
        for sample in Indices(below: samples) {
            for scale in Indices(below: inputs) where scale >= first {
                let length = codes.schedule.length(scale)
                for index in Indices(below: length) {
                    targets.append(tokens.at(scale)?.at(sample &* length &+ index) ?? -1)
                }
            }
        }
        return targets
    }
}
