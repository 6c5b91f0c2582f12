import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Which samplers a pipeline has.
enum StableDiffusionSolvers {
    /// The solver that the pipeline's scheduler says; that of the published models where it says nothing.
    static func solver(
        _ kind: StableDiffusionKind, _ opened: Opened, _ parts: StableDiffusionParts
    ) throws(DiffError) -> any ImageSolver {
        guard kind.isFlow else {
            let file = try parts.enteredScheduler(SchedulerRules.file)
            return SchedulerSolver(scheduler: try SchedulerSettings(stableDiffusion: file))
        }
        let file = try parts.enteredScheduler(FlowMatchSettings.rules)
        let settings = try file.map { (file) throws(DiffError) in try FlowMatchSettings(file) }
        return FlowMatchSolver(settings: settings ?? .stableDiffusion3)
    }
}
