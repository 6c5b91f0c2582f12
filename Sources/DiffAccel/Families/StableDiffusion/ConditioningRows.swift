import DiffModels
import DiffTensor

// The rows of a conditioning: one for each prompt at first, then one for each sample, those of negative prompts behind them.

extension Conditioning {
    /// The same with `change` of each tensor.
    func mapped(_ change: (Tensor) throws(DiffError) -> Tensor) throws(DiffError) -> Conditioning {
        func changed(_ x: Tensor?) throws(DiffError) -> Tensor? {
            guard let x else { return nil }
            return try change(x)
        }
        var result = Conditioning(states: try change(states))
        (result.mask, result.pooled) = (try changed(mask), try changed(pooled))
        (result.secondStates, result.secondMask) = (try changed(secondStates), try changed(secondMask))
        (result.sizes, result.guidance) = (try changed(sizes), try changed(guidance))
        return result
    }
}

extension Run {
    /// Rows for `samples` samples: each prompt `perPrompt` times, one prompt as often as there are samples.
    func repeated(_ c: Conditioning, _ samples: Int, perPrompt: Int) throws(DiffError) -> Conditioning {
        let rows = c.states.shape[0]
        guard rows != samples else { return c }
        return try c.mapped { (x) throws(DiffError) in
            let all = try workspace.take(x.shape.replacingFirst(samples))
            for sample in Indices(below: samples) {
                let source = rows == 1 ? 0 : min(sample / max(1, perPrompt), rows &- 1)
                try store(x.rows(source, 1), in: all, row: sample)
            }
            return all
        }
    }

    /// A conditioning of zeros, of the shapes of `c`.
    func zeros(like c: Conditioning) throws(DiffError) -> Conditioning {
        try c.mapped { (x) throws(DiffError) in try filled(x.shape.count, with: 0).reshaped(x.shape) }
    }

    /// The rows of `a`, then those of `b`, which must have the same tensors.
    func joinedSamples(_ a: Conditioning, _ b: Conditioning) throws(DiffError) -> Conditioning {
        guard a.states.shape == b.states.shape, a.secondStates?.shape == b.secondStates?.shape else {
            throw DiffError(
                .shape,
                "the conditioning of the prompts is \(a.states.shape), that of the negative prompts \(b.states.shape)")
        }
        func joined(_ x: Tensor?, _ y: Tensor?) throws(DiffError) -> Tensor? {
            guard let x, let y else { return nil }
            return try joinedRows(x, y)
        }
        var both = Conditioning(states: try joinedRows(a.states, b.states))
        (both.mask, both.pooled) = (try joined(a.mask, b.mask), try joined(a.pooled, b.pooled))
        both.secondStates = try joined(a.secondStates, b.secondStates)
        both.secondMask = try joined(a.secondMask, b.secondMask)
        (both.sizes, both.guidance) = (try joined(a.sizes, b.sizes), try joined(a.guidance, b.guidance))
        return both
    }

    private func joinedRows(_ a: Tensor, _ b: Tensor) throws(DiffError) -> Tensor {
        let n = a.shape[0]
        let all = try workspace.take(a.shape.replacingFirst(n &+ b.shape[0]))
        for row in Indices(below: n) { try store(a.rows(row, 1), in: all, row: row) }
        for row in Indices(below: b.shape[0]) { try store(b.rows(row, 1), in: all, row: n &+ row) }
        return all
    }
}
