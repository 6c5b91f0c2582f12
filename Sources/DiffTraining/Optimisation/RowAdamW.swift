public import DiffTensor
import Glibc

/// AdamW's state of one short vector that is stepped when it has a gradient, and only then: a router's row, a group's gates.
public struct RowAdamW: Sendable, Equatable {
    /// Moments.
    public private(set) var first: [Float], second: [Float]
    /// Steps made.
    public private(set) var steps = 0

    /// The state before the first step of `count` numbers.
    public init(count: Int) {
        first = Array(repeating: 0, count: max(0, count))
        second = first
    }

    /// The state of an earlier run. Throws `format` when its parts do not fit each other.
    public init(first: [Float], second: [Float], steps: Int) throws(DiffError) {
        guard first.count == second.count, steps >= 0, first.allSatisfy(\.isFinite), second.allSatisfy({ $0 >= 0 }) else {
            throw DiffError(.format, "an optimiser's moments do not fit each other")
        }
        (self.first, self.second, self.steps) = (first, second, steps)
    }

    /// One step without weight decay, β 0.9 and 0.999, eps 1e-8; float32 in torch's order of operations.
    public mutating func step(_ values: inout [Float], gradient: [Float], learningRate: Double, scale: Float = 1) {
        steps &+= 1
        let (beta1, beta2) = (0.9, 0.999)
        let stepSize = Float(learningRate / (1 - pow(beta1, Double(steps))))
        let root = Float((1 - pow(beta2, Double(steps))).squareRoot())
        for (index, raw) in gradient.numbered where index < values.count && index < first.count && index < second.count {
            let g = raw * scale
            let m = first[index] + (g - first[index]) * Float(1 - beta1)
            let v = second[index] * Float(beta2) + g * g * Float(1 - beta2)
            (first[index], second[index]) = (m, v)
            values[index] -= stepSize * (m / (v.squareRoot() / root + 1e-8))
        }
    }
}
