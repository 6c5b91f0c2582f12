import DiffTensor

/// The steps of a request.
public enum SamplerSteps: Sendable, Equatable {
    /// This many, at the timesteps that the scheduler's own spacing gives.
    case count(Int)
    /// Those of a process that was respaced as the official DiT does it.
    case respaced(TimestepSpacing)
}

extension SchedulerConfiguration {
    /// DDIM's steps: from each timestep by a whole stride ⌊T / n⌋, wherever that leads: with spacings other than `leading` not to the
    /// next timestep of the list.
    func strides(_ steps: SamplerSteps) throws(DiffError) -> [DiffusionTransition] {
        let process = process()
        guard case .count(let count) = steps else { return try respaced(steps, process) }
        let alphas = try process.alphasCumulative()
        let final = endsClean ?? true ? 1 : alphas.first ?? 1
        let stride = process.trainSteps / max(1, count)
        return try (spacing ?? .leading).timesteps(count, of: process.trainSteps, offset: stepsOffset ?? 0).each.map {
            t in
            DiffusionTransition(
                timestep: t, alpha: alphas.at(t) ?? 1, previous: t < stride ? final : alphas.at(t &- stride) ?? final)
        }
    }

    /// DDPM's steps: from each timestep to the next of the list, the last to the clean image.
    func chain(_ steps: SamplerSteps) throws(DiffError) -> [DiffusionTransition] {
        let process = process()
        guard case .count(let count) = steps else { return try respaced(steps, process) }
        let alphas = try process.alphasCumulative()
        let timesteps = try (spacing ?? .leading).timesteps(count, of: process.trainSteps, offset: stepsOffset ?? 0)
        return timesteps.numbered.map { position, t in
            DiffusionTransition(
                timestep: t, alpha: alphas.at(t) ?? 1,
                previous: timesteps.at(position &+ 1).flatMap { alphas.at($0) } ?? 1)
        }
    }

    private func respaced(
        _ steps: SamplerSteps, _ process: DiffusionProcess
    ) throws(DiffError) -> [DiffusionTransition] {
        guard case .respaced(let spacing) = steps else { return [] }
        return try DiffusionSchedule(process, spacing).transitions
    }
}

extension SamplerSteps {
    /// The number of steps, of a sampler that knows no other spacings than its own. Throws `unsupported` for others.
    func counted(by sampler: String) throws(DiffError) -> Int {
        guard case .count(let count) = self else {
            throw DiffError(
                .unsupported,
                "sampler \(sampler) knows the spacings leading, trailing and linspace; even, strided and counts are for ddim and "
                    + "ddpm")
        }
        return count
    }
}
