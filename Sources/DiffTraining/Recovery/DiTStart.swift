import DiffTensor

/// A DiT's weights before any training. Source: `DiT.initialize_weights` of facebookresearch/DiT.
///
/// Linear layers are Xavier-uniform with zero biases, the class table and the time network normal with σ 0.02, modulations and the last
/// projection zero. The stream is not torch's: each tensor has one of its own.
struct DiTStart {
    let seed: UInt64

    /// Overwrites the trained ones of `parameters`.
    func initialise(_ parameters: Parameters, _ resources: LearningResources) throws(DiffError) {
        guard !resources.isVirtual else { return }
        for (position, parameter) in parameters.trained.numbered {
            guard let name = parameter.names.first, let values = unsafe parameter.tensor.floats else { continue }
            let shape = parameter.tensor.shape
            var random = TorchRandom(seed: seed &+ UInt64(truncatingIfNeeded: position &+ 1) &* 0x9e37_79b9)
            switch Self.kind(name, shape) {
            case .zero: unsafe values.update(repeating: 0, count: max(0, shape.count))
            case .normal:
                unsafe random.normal(values, count: shape.count)
                for index in Indices(below: shape.count) { unsafe values[index] *= 0.02 }
            case .xavier:
                // A fused matrix is one matrix to the official code too.
                let (outputs, inputs) = (shape[0], shape[0] > 0 ? shape.count / shape[0] : 0)
                let bound = (6 / Float(max(1, outputs &+ inputs))).squareRoot()
                unsafe random.uniform(values, count: shape.count)
                for index in Indices(below: shape.count) { unsafe values[index] = (2 * values[index] - 1) * bound }
            }
        }
    }

    private enum Kind { case zero, normal, xavier }

    private static func kind(_ name: String, _ shape: Shape) -> Kind {
        let zero = ["adaLN_modulation", "final_layer.linear", "norm1.linear", "proj_out"]
        let normal = ["embedding_table", "t_embedder", "timestep_embedder"]
        if zero.contains(where: { name.holds($0) }) { return .zero }
        if shape.rank < 2 { return .zero }
        return normal.contains(where: { name.holds($0) }) ? .normal : .xavier
    }
}
