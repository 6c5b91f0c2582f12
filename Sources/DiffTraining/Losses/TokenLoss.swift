public import DiffTensor

/// What logits of codes cost: cross-entropy with the codes that are there, the divergence from a teacher's whole distribution, or a
/// mixture, as a mean over all rows.
///
/// loss = α T² KL(softmax(teacher / T) ‖ softmax(student / T)) + (1 - α) CE(codes), the cross-entropy at temperature 1. Source: the
/// loss file of the published CoDe code; Hinton et al. 2015.
public struct TokenLoss: Sendable, Equatable {
    /// The terms, means over rows.
    public struct Terms: Sendable, Equatable {
        /// T² KL; nil without a teacher.
        public var divergence: Double?
        /// Cross-entropy, with label smoothing if there is any.
        public var entropy: Double
        /// The mixture.
        public var loss: Double
    }

    /// α: share of the divergence; without a teacher it counts as 0.
    public var divergenceShare: Double
    /// T.
    public var temperature: Double
    /// Share of a code's weight that is spread over all codes.
    public var smoothing: Double

    /// A loss of these settings.
    public init(divergenceShare: Double = 0, temperature: Double = 1, smoothing: Double = 0) {
        (self.divergenceShare, self.temperature, self.smoothing) = (divergenceShare, temperature, smoothing)
    }

    /// The terms for `student` [..., vocabulary], a row for each of `codes`; the gradient of the loss is written to `gradient`. Throws
    /// `shape`, `invalidArgument` for a code outside the vocabulary.
    public func evaluate(
        student: Tensor, teacher: Tensor?, codes: [Int], writingTo gradient: Tensor, _ run: Run
    ) throws(DiffError) -> Terms {
        let rows = Double(max(1, codes.count))
        let share = teacher == nil ? 0 : divergenceShare
        let costs = try run.tokenCosts(
            of: student, teacher: teacher, targets: codes,
            TokenCosting(
                temperature: temperature, smoothing: smoothing, divergenceWeight: share / rows,
                entropyWeight: (1 - share) / rows), writingTo: gradient)
        let (divergence, entropy) = (costs.divergences.mean, costs.entropies.mean)
        // A term that does not count may be infinite.
        let loss = (share > 0 ? share * divergence : 0) + (share < 1 ? (1 - share) * entropy : 0)
        return Terms(divergence: teacher == nil ? nil : divergence, entropy: entropy, loss: loss)
    }
}
