import CKernels

/// What each row of logits cost.
public struct TokenCosts: Sendable {
    /// T² KL(teacher / T ‖ student / T); 0 without a teacher.
    public let divergences: [Double]
    /// Cross-entropy with the smoothed target.
    public let entropies: [Double]
}

/// How the costs of a row of logits are worked out and mixed.
public struct TokenCosting: Sendable, Equatable {
    /// T of the divergence, positive.
    public var temperature: Double
    /// Share of a target's weight that is spread over all codes, 0...1.
    public var smoothing: Double
    /// What the gradients of a row's divergence and cross-entropy are multiplied by.
    public var divergenceWeight: Double, entropyWeight: Double

    /// The costs with these weights.
    public init(temperature: Double, smoothing: Double, divergenceWeight: Double, entropyWeight: Double) {
        (self.temperature, self.smoothing) = (temperature, smoothing)
        (self.divergenceWeight, self.entropyWeight) = (divergenceWeight, entropyWeight)
    }
}

extension Run {
    /// The costs of `student` [..., vocabulary], a row of logits for each of `targets`, against these codes and against the logits
    /// of `teacher`; the gradient of their weighted sum over all rows is written to `gradient`. All costs are 0 in a dry run.
    ///
    /// Throws `shape` when the sizes differ, `invalidArgument` for a target outside the vocabulary.
    public func tokenCosts(
        of student: Tensor, teacher: Tensor?, targets: [Int], _ costing: TokenCosting, writingTo gradient: Tensor
    ) throws(DiffError) -> TokenCosts {
        let (rows, width) = (student.shape.rows, student.shape.last)
        guard rows == targets.count, gradient.shape == student.shape, (teacher?.shape ?? student.shape) == student.shape
        else {
            throw DiffError(
                .shape,
                "logits \(student.shape) with a teacher's \(teacher?.shape.description ?? "none") for "
                    + "\(targets.count) codes")
        }
        for (position, target) in targets.numbered where target < 0 || target >= width {
            throw DiffError(.invalidArgument, "code \(target) at position \(position) is outside 0..<\(width)")
        }
        count(flops: (teacher == nil ? 6 : 20) * Double(student.shape.count))
        var divergences = [Double](repeating: 0, count: max(0, rows))
        var entropies = divergences
        guard isLive else { return TokenCosts(divergences: divergences, entropies: entropies) }
        let codes = targets.each.map { Int64($0) }
        unsafe codes.withUnsafeBufferPointer { codes in
            unsafe divergences.withUnsafeMutableBufferPointer { divergences in
                unsafe entropies.withUnsafeMutableBufferPointer { entropies in
                    var arguments = unsafe ck_token_loss_args()
                    unsafe arguments.student = UnsafePointer(student.floats)
                    unsafe arguments.teacher = teacher.flatMap { unsafe UnsafePointer($0.floats) }
                    unsafe arguments.targets = codes.baseAddress
                    unsafe (arguments.rows, arguments.width) = (Int64(rows), Int64(width))
                    unsafe (arguments.temperature, arguments.smoothing) = (costing.temperature, costing.smoothing)
                    unsafe arguments.divergence_weight = costing.divergenceWeight
                    unsafe arguments.entropy_weight = costing.entropyWeight
                    unsafe arguments.gradient = gradient.floats
                    unsafe (arguments.divergence, arguments.entropy) = (divergences.baseAddress, entropies.baseAddress)
                    unsafe ck_token_loss(poolHandle, &arguments)
                }
            }
        }
        return TokenCosts(divergences: divergences, entropies: entropies)
    }
}
