import DiffTensor

@testable import DiffSampling

/// A run without network for `sampler`.
func run(_ sampler: any Sampler) throws -> Run {
    let run = Run(pool: nil, budget: nil)
    try run.begin(
        SamplingContext(
            layouts: [SiteLayout(family: "none")], calls: sampler.calls, steps: sampler.steps, rows: 1))
    return run
}
