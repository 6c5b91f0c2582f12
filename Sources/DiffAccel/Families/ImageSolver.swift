import DiffCheckpoint
import DiffSampling
import DiffTensor

/// Which sampler an image request means for a model: the mathematics that the model was trained for, and what a request may choose in it.
protocol ImageSolver: Sendable {
    /// Names of the samplers that requests may ask for.
    static var samplers: [String] { get }
    /// The sampler that requests get unless they name another.
    var standard: String { get }
    /// What the network predicts, in the words of diffusers.
    var prediction: String { get }
    /// The sampler that plans are shown with; nil: the standard one.
    var previewed: String? { get }
    /// Network calls of a step, of which a router has a row for each.
    var callsPerStep: Int { get }
    /// What requests may say of the sampler beside its name.
    var options: [OptionSpec] { get }
    /// All names that a request may call a sampler by.
    var samplerNames: [String] { get }
    /// The sampler of `request`, by its name in statistics, for a network that learns the variance or not and works on `tokens` positions;
    /// `steps` are the request's, or what holds where it says none. Throws `invalidArgument`, `unsupported`.
    func sampler(
        _ request: StepsRequest, steps: Int, learnsVariance: Bool, tokens: Int
    ) throws(DiffError) -> (name: String, sampler: any Sampler)
}

extension ImageSolver {
    var previewed: String? { nil }
    var callsPerStep: Int { 1 }
    var options: [OptionSpec] { [] }
    var samplerNames: [String] { Self.samplers }
}

/// All solvers. A new one is added here.
enum Solvers {
    static let all: [any ImageSolver.Type] = [SchedulerSolver.self, SinglestepSolver.self, FlowSolver.self]

    /// The names of all their samplers, each once.
    static var samplers: [String] {
        var names: [String] = []
        for solver in all.each {
            for name in solver.samplers.each where !names.contains(name) { names.append(name) }
        }
        return names
    }
}

/// Samplers of a discrete process, as a model's scheduler or conventions have them.
struct SchedulerSolver: ImageSolver {
    static var samplers: [String] { Samplers.names }

    let scheduler: SchedulerSettings

    var standard: String { scheduler.sampler.name }
    var prediction: String { scheduler.process.prediction.rawValue }
    var options: [OptionSpec] { ImageSteps.options }
    var samplerNames: [String] { Samplers.names + Samplers.classes }

    func sampler(
        _ request: StepsRequest, steps: Int, learnsVariance: Bool, tokens: Int
    ) throws(DiffError) -> (name: String, sampler: any Sampler) {
        let chosen = try ImageSteps(scheduler, request, steps: steps, learnsVariance: learnsVariance)
        return (chosen.name, try chosen.sampler())
    }
}

/// U-ViT's solver, which looks twice in each step.
struct SinglestepSolver: ImageSolver {
    static let samplers = ["dpmpp_2s"]

    let process: DiffusionProcess

    var standard: String { "dpmpp_2s" }
    var callsPerStep: Int { 2 }
    var prediction: String { process.prediction.rawValue }

    func sampler(
        _ request: StepsRequest, steps: Int, learnsVariance: Bool, tokens: Int
    ) throws(DiffError) -> (name: String, sampler: any Sampler) {
        try StepsRequest.require(steps)
        return (standard, try DPMSolverSinglestepSampler(process, evaluations: 2 &* steps))
    }
}

/// Solvers of a flow's equations: the ordinary one, which is SiT's default, or the stochastic one.
struct FlowSolver: ImageSolver {
    static let samplers =
        ["dopri5"] + RungeKuttaMethod.allCases.map(\.rawValue) + ["sde_euler", "sde_heun"]

    let process: FlowProcess

    /// SiT's default.
    var standard: String { "dopri5" }
    /// The standard one decides on its calls while it runs.
    var previewed: String? { "euler" }
    var prediction: String { process.prediction.rawValue }

    func sampler(
        _ request: StepsRequest, steps: Int, learnsVariance: Bool, tokens: Int
    ) throws(DiffError) -> (name: String, sampler: any Sampler) {
        let name = request.sampler ?? standard
        try StepsRequest.require(steps)
        if let method = RungeKuttaMethod(rawValue: name) {
            return (name, try FlowODESampler(method, points: steps &+ 1, process: process))
        }
        guard name != standard else { return (name, try AdaptiveODESampler(process: process, maxSteps: steps)) }
        guard steps > 1 else {
            throw DiffError(.invalidArgument, "sampler \(name) needs 2 steps or more: its last one adds no noise")
        }
        return (name, try FlowSDESampler(name == "sde_heun" ? .heun : .euler, points: steps, process: process))
    }
}
