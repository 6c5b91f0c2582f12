public import DiffTensor
import Glibc

/// A student's outputs against a teacher's: squared error of ε plus the divergence of the predicted posteriors, mixed with the ordinary loss.
///
/// Source: `training_losses_kd` and `training_losses_kd_rep` of the official TinyFusion code: 0.9 kd + 0.1 gt. The row of t = 0 takes
/// the student's cost of the clean image's levels for the divergence, as the ordinary loss does.
public struct DistillationLoss: Sendable {
    /// The terms, one number per sample.
    public struct Terms: Sendable {
        /// Mean of (ε_student - ε_teacher)², and the divergence in bits.
        public var output: [Double], divergence: [Double]
        /// Distillation loss per sample.
        public var kd: [Double] { output.numbered.map { $0.element + (divergence.at($0.offset) ?? 0) } }
        /// The ordinary loss.
        public var ground: DiffusionLoss.Terms
    }

    /// The ordinary loss.
    public let ground: DiffusionLoss
    /// Weights of the distillation loss and of the ordinary one.
    public var distillationWeight, groundWeight: Double

    /// The mixture of the published training.
    public init(_ ground: DiffusionLoss, distillationWeight: Double = 0.9, groundWeight: Double = 0.1) {
        self.ground = ground
        (self.distillationWeight, self.groundWeight) = (distillationWeight, groundWeight)
    }

    /// The terms for both outputs [batch, C or 2C, h, w]; the gradient of the mean mixture with respect to the student's is added to
    /// `gradient`. Throws `shape`, `invalidArgument`.
    public func evaluate(
        student: Tensor, teacher: Tensor, x0: Tensor, xt: Tensor, noise: Tensor, t: [Int], addingTo gradient: Tensor
    ) throws(DiffError) -> Terms {
        guard student.shape == teacher.shape else {
            throw DiffError(.shape, "a student's output of \(student.shape), the teacher's of \(teacher.shape)")
        }
        let terms = try ground.evaluate(
            student, x0: x0, xt: xt, noise: noise, t: t, weight: groundWeight, addingTo: gradient)
        var result = Terms(output: t.map { _ in 0 }, divergence: t.map { _ in 0 }, ground: terms)
        let view = try OutputView(student, like: x0, t.count)
        let steps = try ground.terms(t, samples: x0.shape[0])
        guard let s = unsafe student.floats, let q = unsafe teacher.floats, let g = unsafe gradient.floats,
            let x = unsafe x0.floats, let y = unsafe xt.floats
        else { return result }
        let share = distillationWeight / Double(max(1, view.each &* t.count))
        for (sample, step) in steps.numbered {
            var (output, divergence) = (0.0, 0.0)
            for index in Indices(below: view.each) {
                let (at, position) = (sample &* view.each &+ index, view.epsilon(sample, index))
                let (mine, theirs) = unsafe (Double(s[position]), Double(q[position]))
                output += (mine - theirs) * (mine - theirs)
                unsafe g[position] += Float(2 * (mine - theirs) * share)
                guard let variance = view.variance(sample, index) else { continue }
                let logVariance = unsafe step.logVariance(Double(s[variance]))
                let (clean, noisy) = unsafe (Double(x[at]), Double(y[at]))
                let mean = step.mean(noisy, epsilon: mine)
                let cost =
                    step.isFirst
                    ? levelCost(clean, mean: mean, logVariance: logVariance)
                    : gaussianDivergence(
                        step.mean(noisy, epsilon: theirs), step.logVariance(unsafe Double(q[variance])), mean,
                        logVariance)
                divergence += cost.value / M_LN2
                unsafe g[variance] += Float(cost.slope / M_LN2 * step.slope * share)
            }
            result.output.put(output / Double(max(1, view.each)), at: sample)
            result.divergence.put(divergence / Double(max(1, view.each)), at: sample)
        }
        return result
    }
}
