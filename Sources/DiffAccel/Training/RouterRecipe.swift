import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining

/// The training of a Learning-to-Cache router: the network stays as it is, a plan comes out.
struct RouterRecipe: TrainingRecipe {
    let parameters: Parameters
    let procedure: any LearningProcedure
    let otherWeights: Int
    let loading = 0
    private let inputs: RecipeInputs
    private let costs: [SublayerCost]
    private let learning: RouterLearning

    private init(
        _ inputs: RecipeInputs, _ network: any Denoiser, _ costs: [SublayerCost], _ parameters: Parameters,
        _ process: RouterProcess, _ own: RouterSettings, otherWeights: Int = 0
    ) throws(DiffError) {
        // Of an unconditional network labels say nothing: files have zeros there.
        let data = try inputs.settings.data.map { (data) throws(DiffError) in
            try data.latents(classes: max(1, network.classRows))
        }
        learning = try RouterLearning(network, process, data: data, own, inputs.resources)
        (self.inputs, self.costs, self.parameters, procedure) = (inputs, costs, parameters, learning)
        self.otherWeights = otherWeights
    }

    /// That of a DiT, on DDIM.
    static func dit(_ inputs: RecipeInputs) throws(DiffError) -> any TrainingRecipe {
        let (opened, parameters) = (inputs.opened, Parameters())
        let c = try DiTConfiguration(opened.architecture, conventions: DiTFamily.conventions(opened))
        let scheduler = try DiTFamily.scheduler(opened, c)
        let network = try inputs.dit(opened.checkpoint, c, parameters)
        var defaults = RouterSettings()
        defaults.guidanceChannels = try DiTFamily.guidanceChannels(opened, network.configuration)
        let own = try RouterSettings(inputs.settings.options(TrainerSettings.router(defaults)))
        guard own.trajectory == .data || !scheduler.clips else {
            throw DiffError(
                .unsupported,
                "trajectory \"own\": the model's samples are clamped on their way (clip_sample, clip_denoised), which learning "
                    + "does not do; use the trajectory \"data\", or set the key to false if the model works without")
        }
        let process = try RouterProcess.ddim(
            scheduler.learnedProcess(), steps: own.samplingSteps, period: own.period)
        return try RouterRecipe(inputs, network, network.sublayerCosts, parameters, process, own)
    }

    /// That of a U-ViT, on DPM-Solver++(2S).
    static func uvit(_ inputs: RecipeInputs) throws(DiffError) -> any TrainingRecipe {
        let (opened, parameters) = (inputs.opened, Parameters())
        let network = try UViT(
            UViTConfiguration(opened.architecture), inputs.weights(opened.checkpoint, parameters))
        var defaults = RouterSettings.uvit
        defaults.guidanceChannels = network.channels
        let own = try RouterSettings(inputs.settings.options(TrainerSettings.router(defaults)))
        let process = try RouterProcess.singlestep(
            UViTFamily.process(opened), evaluations: 2 &* own.samplingSteps, period: own.period)
        return try RouterRecipe(inputs, network, network.sublayerCosts, parameters, process, own)
    }

    /// That of a U-Net, on DDIM, told prompts that were encoded before.
    static func unet(_ inputs: RecipeInputs) throws(DiffError) -> any TrainingRecipe {
        let (opened, parameters) = (inputs.opened, Parameters())
        let network = try UNet(
            UNetConfiguration(opened.architecture), inputs.weights(opened.checkpoint, parameters))
        let scheduler = try SchedulerSettings(stableDiffusion: opened.scheduler)
        if opened.scheduler == nil {
            opened.ledger.assume(
                "no scheduler_config.json beside the U-Net: the process is taken for that of Stable Diffusion 1; put the "
                    + "pipeline's there if it has another")
        }
        var defaults = RouterSettings()
        defaults.guidanceChannels = network.channels
        let options = try inputs.settings.options(TrainerSettings.router(defaults) + [TrainerSettings.prompts])
        let own = try RouterSettings(options)
        let path: String = try options.needed("prompts", because: "a U-Net is told prompts")
        let denoiser = try PromptFile(path: path, inputs.resources).told(to: network)
        let process = try RouterProcess.ddim(
            scheduler.learnedProcess(), steps: own.samplingSteps, period: own.period)
        return try RouterRecipe(
            inputs, denoiser, denoiser.sublayerCosts, parameters, process, own, otherWeights: denoiser.heldBytes)
    }

    func plan() throws(DiffError) -> Plan {
        var router = try learning.router()
        if let limit = inputs.settings.cacheLimit {
            router = try router.limited(toBytes: limit, rows: learning.cachedRows, costs)
        }
        return Plan([LayerCachePlan(.learned(router))])
    }

    func export(to folder: String) throws(DiffError) { throw inputs.hasNoCheckpoint }
}
