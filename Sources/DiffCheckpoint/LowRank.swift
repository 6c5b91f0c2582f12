public import DiffTensor

/// Low-rank updates of linear layers (LoRA, Hu et al. 2021): y = W x + b + alpha / rank · B A x.
public struct LoRAOptions: Sendable, Equatable {
    /// Rows of A and columns of B.
    public var rank: Int
    /// alpha / rank is the weight of the update.
    public var alpha: Double
    /// Seed of A where the checkpoint has none; B starts at zero.
    public var seed: UInt64

    /// Updates of `rank`, by default with alpha = 2 rank as TinyFusion has them.
    public init(rank: Int = 8, alpha: Double? = nil, seed: UInt64 = 0) {
        (self.rank, self.alpha, self.seed) = (rank, alpha ?? 2 * Double(rank), seed)
    }
}

extension Weights {
    /// The factors A [rank, inputs] and B [outputs, rank] of the linear layer at this scope, as parameters `lora_a.weight` and
    /// `lora_b.weight`: from the checkpoint when it has them, else A uniform within ±1/√inputs and B zero (torchtune's
    /// start). Nil when no updates are asked for. Throws `invalidArgument` for a rank outside 1...4096.
    public func lowRank(inputs: Int, outputs: Int) throws(DiffError) -> (a: Tensor, b: Tensor, scale: Float)? {
        guard let lora = options.lora, let parameters = options.parameters else { return nil }
        guard (1...4096).contains(lora.rank), lora.alpha.isFinite else {
            throw DiffError(.invalidArgument, "LoRA of rank \(lora.rank) and alpha \(lora.alpha); ranks are 1...4096")
        }
        let scale = Float(lora.alpha / Double(lora.rank))
        let (nameA, nameB) = ("lora_a.weight", "lora_b.weight")
        if has(nameA) || has(nameB) {
            return (try tensor(nameA, [lora.rank, inputs]), try tensor(nameB, [outputs, lora.rank]), scale)
        }
        let shapes = (try Shape(lora.rank, inputs), try Shape(outputs, lora.rank))
        let a = try blank(shapes.0)
        let b = try blank(shapes.1)
        // A stream for each layer, so that one layer's start does not depend on which others there are.
        var random = TorchRandom(seed: lora.seed &+ Self.hash(full(nameA)))
        if let values = unsafe a.floats, let zeros = unsafe b.floats {
            let bound = 1 / Float(inputs).squareRoot()
            unsafe random.uniform(values, count: shapes.0.count)
            for index in Indices(below: shapes.0.count) { unsafe values[index] = (2 * values[index] - 1) * bound }
            unsafe zeros.update(repeating: 0, count: max(0, shapes.1.count))
        }
        return (parameters.add([full(nameA)], a), parameters.add([full(nameB)], b), scale)
    }

    private func blank(_ shape: Shape) throws(DiffError) -> Tensor {
        let bytes = shape.count &* 4  // below 2^50 by Shape's bound
        let block =
            options.dryRun ? Storage(virtual: bytes) : try Storage(byteCount: bytes, budget: options.budget)
        return try Tensor(block, shape)
    }

    /// FNV-1a.
    private static func hash(_ name: String) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in Array(name.utf8).each { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hash
    }
}
