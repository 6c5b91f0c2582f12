import DiffTensor

extension Optimiser {
    /// Puts parameters, moments and averages into `state`.
    func save(in state: inout LearningState) {
        for slot in slots.each {
            guard let name = slot.names.first else { continue }
            for (part, tensor) in parts(slot).each { state.tensors.put(tensor, for: "\(name)/\(part)") }
        }
        state.integers.put([steps], for: "optimiser.steps")
    }

    /// Reads them back. Throws `format` when one is missing; nothing has changed then.
    func restore(_ state: LearningState) throws(DiffError) {
        guard let steps = state.integers["optimiser.steps"]?.first else {
            throw DiffError(.format, "the state has no step count")
        }
        guard steps <= state.step else {
            throw DiffError(.format, "the state counts \(steps) steps of the optimiser in \(state.step)")
        }
        for isCopying in [false, true] {
            for slot in slots.each {
                guard let name = slot.names.first else { continue }
                for (part, tensor) in parts(slot).each {
                    guard state.tensors["\(name)/\(part)"]?.shape.count == tensor.shape.count else {
                        throw DiffError(.format, "the state has no \(part) of \"\(name)\" of \(tensor.shape)")
                    }
                    if isCopying { try state.copy("\(name)/\(part)", to: tensor) }
                }
            }
        }
        self.steps = steps
    }

    private func parts(_ slot: Slot) -> [(String, Tensor)] {
        var parts = [("value", slot.parameter), ("first", slot.first), ("second", slot.second)]
        if let average = slot.average { parts.append(("average", average)) }
        return parts
    }
}
