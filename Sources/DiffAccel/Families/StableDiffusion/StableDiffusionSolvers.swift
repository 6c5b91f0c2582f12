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
        let file = try parts.scheduler()
        if kind.isFlow {
            let settings = try file.map { (file) throws(DiffError) in
                try FlowMatchSettings(opened.entered(file, as: file.source, FlowMatchSettings.rules))
            }
            if settings == nil { assumeScheduler(opened) }
            return FlowMatchSolver(settings: settings ?? .stableDiffusion3)
        }
        let entered = try file.map { (file) throws(DiffError) in
            try opened.entered(file, as: file.source, SchedulerRules.file)
        }
        if entered == nil { assumeScheduler(opened) }
        return SchedulerSolver(scheduler: try SchedulerSettings(stableDiffusion: entered))
    }

    private static func assumeScheduler(_ opened: Opened) {
        opened.ledger.assume(
            "there is no scheduler/scheduler_config.json: sampling is as the published models of this kind have it")
    }
}
