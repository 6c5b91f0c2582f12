public import DiffTensor

/// AdamW over parameters, with clipping by the norm of all gradients and a moving average of the values.
///
/// Source: Loshchilov & Hutter 2019 in torch's arithmetic. A parameter to which nothing flowed back in a step has a gradient of zero.
public final class Optimiser {
    /// What a step does.
    public struct Settings: Sendable, Equatable {
        /// Decays of the moments, what is added to the root, and decoupled weight decay.
        public var beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.0
        /// Gradients are scaled down to this norm together; nil: they are taken as they are.
        public var clip: Double?
        /// Decay of the averages.
        public var averageDecay: Double

        /// The defaults of torch without weight decay, with averages of the given decay.
        public init(clip: Double? = 1, averageDecay: Double) { (self.clip, self.averageDecay) = (clip, averageDecay) }
    }

    /// A parameter and its state, all of one shape.
    public struct Slot: Sendable {
        /// Names in the checkpoint.
        public let names: [String]
        /// The parameter and its moments.
        public let parameter, first, second: Tensor
        /// The moving average, where one is kept.
        public let average: Tensor?
        let node: Int
        /// Whether weight decay acts on it.
        let decays: Bool
    }

    /// All parameters.
    public let slots: [Slot]
    /// Steps made.
    public internal(set) var steps = 0
    private let settings: Settings
    private let zero: Tensor?

    /// An optimiser of the trained ones of `parameters`, its state charged to `budget`. `averages` tells by name whose average is
    /// kept, `decays` by name and shape on which weight decay acts; an average starts as a copy. With `isVirtual` there is no memory.
    public init(
        _ parameters: Parameters, _ settings: Settings, budget: MemoryBudget?, isVirtual: Bool = false,
        averages: (String) -> Bool, decays: (String, Shape) -> Bool = { _, _ in true }
    ) throws(DiffError) {
        var slots: [Slot] = []
        var largest = 0
        func room(_ shape: Shape) throws(DiffError) -> Tensor {
            let bytes = shape.count &* 4
            let block = isVirtual ? Storage(virtual: bytes) : try Storage(byteCount: bytes, budget: budget)
            let tensor = try Tensor(block, shape)
            if let base = unsafe tensor.floats { unsafe base.update(repeating: 0, count: max(0, shape.count)) }
            return tensor
        }
        for parameter in parameters.trained.each {
            guard let node = parameter.node else { continue }
            let shape = parameter.tensor.shape
            let average = parameter.names.each.contains(where: averages) ? try room(shape) : nil
            if let to = unsafe average?.floats, let from = unsafe parameter.tensor.floats {
                unsafe to.update(from: from, count: max(0, shape.count))
            }
            slots.append(
                Slot(
                    names: parameter.names, parameter: parameter.tensor.detached, first: try room(shape),
                    second: try room(shape), average: average, node: node,
                    decays: parameter.names.each.contains { decays($0, shape) }))
            largest = max(largest, shape.count)
        }
        zero = largest > 0 ? try room(Shape(largest)) : nil
        (self.slots, self.settings) = (slots, settings)
    }

    /// Numbers that learn.
    public var count: Int { slots.each.reduce(0) { Checked.sum($0, $1.parameter.shape.count) } }

    /// One step. `others` are squared norms of gradients outside these parameters that are clipped together with them. Gives the norm
    /// of all gradients and the factor they were scaled by. With `skips` (the loss was not a number) only the averages move.
    @discardableResult
    public func step(
        _ gradients: ParameterGradients, learningRate: Double, others: Double = 0, skips: Bool = false, _ run: Run
    ) throws(DiffError) -> (norm: Double, scale: Float) {
        let norm = try norm(gradients, others: others, run)
        return (norm, try step(gradients, learningRate: learningRate, norm: norm, skips: skips, run))
    }

    /// The norm of all gradients; `others` are squared norms of gradients outside these parameters.
    func norm(_ gradients: ParameterGradients, others: Double = 0, _ run: Run) throws(DiffError) -> Double {
        var squares = others
        for slot in slots.each {
            if let gradient = gradients[slot.node] { squares += try run.sumOfSquares(gradient) }
        }
        return squares.squareRoot()
    }

    /// One step by gradients whose norm is known already. Gives the factor they were scaled by.
    func step(
        _ gradients: ParameterGradients, learningRate: Double, norm: Double, skips: Bool, _ run: Run
    ) throws(DiffError) -> Float {
        let scale = settings.clip.map { Float(min(1, $0 / (norm + 1e-6))) } ?? 1
        if !skips {
            steps &+= 1
            var step = AdamWStep(
                learningRate: learningRate, beta1: settings.beta1, beta2: settings.beta2, eps: settings.eps,
                step: steps,
                gradientScale: scale)
            for slot in slots.each {
                step.weightDecay = slot.decays ? settings.weightDecay : 0
                let nothing = try zero?.rows(0, slot.parameter.shape.count)
                guard let gradient = gradients[slot.node] ?? nothing else { continue }
                try run.adamW(slot.parameter, m: slot.first, v: slot.second, gradient: gradient, step)
            }
        }
        for slot in slots.each {
            guard let average = slot.average else { continue }
            try run.movingAverage(average, toward: slot.parameter, decay: settings.averageDecay)
        }
        return scale
    }
}
