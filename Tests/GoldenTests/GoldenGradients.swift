import DiffTensor

extension GoldenReport {
    /// Compares the gradients of all trained parameters that the fixture has, `train.grad.NAME`, within a thousandth of each one's largest
    /// element, and the norm of all, `train.grad_norm`.
    mutating func compare(gradients: ParameterGradients, of parameters: Parameters) throws {
        var squares = 0.0
        for (node, parameter) in parameters.trained.enumerated() {
            let zero = Array(repeating: Float(0), count: parameter.tensor.shape.count)
            let gradient = gradients[node]?.array ?? zero
            squares += gradient.reduce(0) { $0 + Double($1) * Double($1) }
            let key = "train.grad.\(parameter.names[0])"
            guard fixture.has(key) else { continue }
            let largest = try fixture.doubles(key).map(abs).max() ?? 0
            try compare(key, gradient, .absolute(1e-3 * largest + 1e-7))
        }
        try compare("train.grad_norm", [squares.squareRoot()], .relative(1e-3))
    }
}
