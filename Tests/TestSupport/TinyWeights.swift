import DiffTensor

/// Random weights of these shapes, small enough that activations stay of size 1; the same for the same seed. Vectors are at most
/// `vectors` in magnitude.
func tinyWeights(_ shapes: [String: [Int]], seed: UInt64, vectors: Float) throws(DiffError) -> [String: Tensor] {
    var numbers = Numbers(seed)
    var tensors: [String: Tensor] = [:]
    for (name, dims) in shapes.sorted(by: { $0.key < $1.key }) {
        let inputs = dims.dropFirst().reduce(1, *)
        let scale: Float = dims.count == 1 ? vectors : 1.5 / Float(max(1, inputs)).squareRoot()
        tensors[name] = try numbers.tensor(dims, scale: name == "pos_embed" ? 0.5 : scale)
    }
    return tensors
}
