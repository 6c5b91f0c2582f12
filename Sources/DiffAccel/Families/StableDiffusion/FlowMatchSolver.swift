import DiffCheckpoint
import DiffSampling
import DiffTensor

/// Solvers of a flow on the levels of noise that its scheduler says: Stable Diffusion 3.
struct FlowMatchSolver: ImageSolver {
    static let samplers = FlowMatchMethod.allCases.map(\.rawValue)

    let settings: FlowMatchSettings

    var standard: String { settings.method.rawValue }
    var prediction: String { "flow" }
    var samplerNames: [String] { Self.samplers + FlowMatchMethod.allCases.map(\.schedulerClass) }

    func sampler(
        _ request: StepsRequest, steps: Int, learnsVariance: Bool, tokens: Int
    ) throws(DiffError) -> (name: String, sampler: any Sampler) {
        try StepsRequest.require(steps)
        var method = settings.method
        if let name = request.sampler {
            guard let named = FlowMatchMethod(rawValue: name) ?? FlowMatchMethod(named: name) else {
                throw DiffError(.internal, "no sampler \"\(name)\" of flows")
            }
            method = named
        }
        return (method.rawValue, try method.sampler(settings.process, steps: steps, tokens: tokens))
    }
}
