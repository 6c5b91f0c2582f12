public import DiffTensor

/// Distance of a student's block output from a teacher's, without the few massive activations that would drown it.
///
/// Source: TinyFusion (arXiv 2412.01199), masked representation distillation. Massive are entries not within k σ of the mean of
/// their sample (over tokens and channels, unbiased σ).
public struct FeatureLoss: Sendable, Equatable {
    /// What is done with massive entries.
    public enum Masking: String, Sendable, CaseIterable {
        /// The published code: each side's are set to zero, the other side's value stays; divided by all entries.
        case published
        /// The paper's words: entries that are massive on either side do not count.
        case paper
        /// None is left out.
        case none
    }

    /// k.
    public var sigmas: Double
    /// What is done with massive entries.
    public var masking: Masking

    /// 2 σ as published.
    public init(sigmas: Double = 2, masking: Masking = .published) {
        (self.sigmas, self.masking) = (sigmas, masking)
    }

    /// Per sample the mean squared distance of [batch, tokens, width] features. The gradient of `weight` times the sum over samples with
    /// respect to the student's is written to `gradient`. Throws `shape`.
    public func evaluate(
        student: Tensor, teacher: Tensor, weight: Double, writingTo gradient: Tensor
    ) throws(DiffError) -> [Double] {
        guard student.shape == teacher.shape, student.shape.rank == 3, gradient.shape == student.shape else {
            throw DiffError(.shape, "features \(student.shape) and \(teacher.shape) cannot be compared")
        }
        let samples = student.shape[0], each = student.shape.count / max(1, samples)
        var losses = Array(repeating: 0.0, count: max(0, samples))
        guard let s = unsafe student.floats, let t = unsafe teacher.floats, let g = unsafe gradient.floats else {
            return losses
        }
        for sample in Indices(below: samples) {
            let at = sample &* each
            let mine = unsafe bounds(s + at, each)
            let theirs = unsafe bounds(t + at, each)
            var (sum, counted) = (0.0, 0)
            for index in Indices(below: each) {
                let (a, b) = unsafe (s[at &+ index], t[at &+ index])
                let (keepsA, keepsB) = (mine.holds(a), theirs.holds(b))
                let counts = masking != .paper || (keepsA && keepsB)
                let difference = counts ? (keepsA ? Double(a) : 0) - (keepsB ? Double(b) : 0) : 0
                counted &+= counts ? 1 : 0
                sum += difference * difference
                unsafe g[at &+ index] = keepsA ? Float(difference) : 0
            }
            let share = 1 / Double(max(1, counted))
            losses.put(sum * share, at: sample)
            let factor = Float(2 * weight * share)
            for index in Indices(below: each) { unsafe g[at &+ index] *= factor }
        }
        return losses
    }

    private struct Bounds {
        let mean, reach: Float
        func holds(_ x: Float) -> Bool { abs(x - mean) < reach }
    }

    private func bounds(_ x: UnsafeMutablePointer<Float>, _ count: Int) -> Bounds {
        guard masking != .none else { return Bounds(mean: 0, reach: .infinity) }
        var sum = 0.0
        for index in Indices(below: count) { unsafe sum += Double(x[index]) }
        let mean = sum / Double(max(1, count))
        var squares = 0.0
        for index in Indices(below: count) {
            let d = unsafe Double(x[index]) - mean
            squares += d * d
        }
        let deviation = (squares / Double(max(1, count &- 1))).squareRoot()
        return Bounds(mean: Float(mean), reach: Float(sigmas * deviation))
    }
}
