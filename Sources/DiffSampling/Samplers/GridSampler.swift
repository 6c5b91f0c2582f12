import DiffTensor

/// A sampler that makes one evaluation at each level of a grid of σ.
protocol GridSampler: Sampler {
    var grid: SigmaGrid { get }
    var spacing: SchedulerSpacing { get }
    /// The next evaluation: of most samplers the next step.
    var position: Int { get set }
    /// The level before it.
    var level: SigmaLevel { get }
}

extension GridSampler {
    var steps: Int { grid.steps }
    var calls: CallCount { .exactly(grid.steps) }
    var timesteps: [Double] { grid.timesteps }
    var sigmas: [Double] { grid.sigmas }
    var initialNoiseScale: Double { grid.initialScale(spacing) }

    /// That of the next step.
    var level: SigmaLevel { SigmaLevel(sigma: grid.interval(position).0) }

    var call: SamplerCall? {
        grid.timesteps.at(position).map {
            SamplerCall(timestep: $0, step: position, inputScale: level.inputScale)
        }
    }

    mutating func start(at call: Int) { position = call }

    func noised(_ clean: Tensor, _ noise: Tensor, _ run: Run) throws(DiffError) -> Tensor {
        try level.noised(clean, noise, run)
    }
}
