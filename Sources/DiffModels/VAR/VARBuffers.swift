import DiffCheckpoint
import DiffTensor

extension Weights {
    /// Notes the buffers of a VAR that follow from its schedule and are not read: the scale of every token, and which tokens see which.
    /// Throws `incompatible` when they are those of another schedule.
    func markScheduleBuffers(_ schedule: ScaleSchedule) throws(DiffError) {
        let levels = schedule.levels(0, schedule.tokens)
        if let entry = table.info(full("lvl_1L")) {
            let isWhole = entry.shape.count == levels.count
            guard isWhole, try table.doubles(entry.name) == levels.map(Double.init) else {
                throw differs(entry.name, schedule)
            }
        }
        if let entry = table.info(full("attn_bias_for_masking")) {
            guard entry.shape.count == levels.count &* levels.count, try masks(entry.name, levels) else {
                throw differs(entry.name, schedule)
            }
        }
        for name in ["lvl_1L", "attn_bias_for_masking"] { markUsed { $0 == full(name) } }
    }

    private func differs(_ name: String, _ schedule: ScaleSchedule) -> DiffError {
        DiffError(
            .incompatible,
            "\(table.path): \(name) is not that of the scales \(schedule.sides): the config's patch_nums are another model's"
        )
    }

    /// Whether the mask `name` is 0 where a token sees another, which is of its own scale or an earlier one, and very low elsewhere.
    private func masks(_ name: String, _ levels: [Int]) throws(DiffError) -> Bool {
        let mask = try table.load(name, budget: options.budget).widened(budget: options.budget)
        guard let values = unsafe mask.floats, mask.shape.count == levels.count &* levels.count else { return false }
        for (row, own) in levels.numbered {
            for (column, other) in levels.numbered {
                let value = unsafe values[row &* levels.count &+ column]
                guard other <= own ? value == 0 : value < -1e3 else { return false }
            }
        }
        return true
    }
}
