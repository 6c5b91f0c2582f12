public import DiffCheckpoint
import DiffTensor
import DiffTraining

/// What a step of training showed, reported during training.
public struct TrainingEvent: Sendable, Equatable {
    /// Number of the step just made, from 1, and how many a whole training has.
    public let step: Int, steps: Int
    /// Loss of the step, all terms together.
    public let loss: Double
    /// Norm of the gradient of everything that learns, before clipping.
    public let gradientNorm: Double
    /// Learning rate of the step.
    public let learningRate: Double
    /// Wall-clock seconds since this run of the trainer began.
    public let seconds: Double
    /// How sure the decisions are, 0...1: one for each group of gates; for a router the scores of the row just trained.
    public let confidences: [Float]
    /// Terms of the loss and other figures by name.
    public let terms: [String: Double]

    init(_ report: LearningReport, seconds: Double) {
        (step, steps, loss) = (report.step, report.steps, report.loss)
        (gradientNorm, learningRate, self.seconds) = (report.gradientNorm, report.learningRate, seconds)
        confidences = report.confidences
        var terms: [String: Double] = [:]
        for term in report.terms.each { terms.put(term.value, for: term.name) }
        self.terms = terms
    }

    /// The event as JSON, one line of a log.
    public var json: JSON {
        .object([
            "step": .integer(step), "steps": .integer(steps), "loss": .number(loss),
            "gradient_norm": .number(gradientNorm), "learning_rate": .number(learningRate),
            "seconds": .number(seconds), "confidences": .array(confidences.map { .number(Double($0)) }),
            "terms": .object(terms.withValues { .number($0) }),
        ])
    }
}

/// How a trainer runs.
public struct TrainerOptions: Sendable {
    /// Threads of the trainer's own pool; 0: one per processor that may be used.
    public var threads = 0
    /// Bytes for weights, gradients, moments, activations and data; 0: no limit.
    public var memoryLimit = 0

    /// The defaults.
    public init() {}
}
