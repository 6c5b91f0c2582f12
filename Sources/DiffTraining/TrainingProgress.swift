/// What a learning procedure tells after each step.
public struct TrainingProgress: Sendable, Equatable {
    /// Number of the step just done, from 1, and how many there will be.
    public let step: Int, steps: Int
    /// The step's loss.
    public let loss: Double
    /// Norm of the gradient of all trained parameters, before clipping.
    public let gradientNorm: Double

    /// The facts of a step.
    public init(step: Int, steps: Int, loss: Double, gradientNorm: Double) {
        (self.step, self.steps, self.loss, self.gradientNorm) = (step, steps, loss, gradientNorm)
    }
}
