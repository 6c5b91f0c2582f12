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
        let process = try RouterProcess.ddim(scheduler.process, steps: own.samplingSteps, period: own.period)
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

    /// That of a U-Net alone.
    static func unet(_ inputs: RecipeInputs) throws(DiffError) -> any TrainingRecipe {
        let (opened, parameters) = (inputs.opened, Parameters())
        if opened.scheduler == nil {
            opened.ledger.assume(
                "no scheduler_config.json beside the U-Net: the process is taken for that of Stable Diffusion 1; name the pipeline's "
                    + "folder instead, or put its file there, if it has another")
        }
        let network = try UNet(
            UNetConfiguration(opened.architecture), inputs.weights(opened.checkpoint, parameters))
        return try unet(inputs, network, parameters, SchedulerSettings(stableDiffusion: opened.scheduler))
    }

    /// That of a pipeline's U-Net. Throws `unsupported` for a pipeline that has another network.
    static func pipeline(_ inputs: RecipeInputs) throws(DiffError) -> any TrainingRecipe {
        let (opened, parameters) = (inputs.opened, Parameters())
        let parts = try StableDiffusionParts(opened)
        guard try !StableDiffusionKind(parts).isFlow else {
            throw DiffError(
                .unsupported,
                "\(opened.checkpoint.path): the network is a transformer of Stable Diffusion 3; routers are learned of those of "
                    + "Stable Diffusion 1, 2 and XL")
        }
        let part = try parts.required("unet", UNetConfiguration.rules)
        let scheduler = try SchedulerSettings(stableDiffusion: parts.enteredScheduler(SchedulerRules.file))
        let network = try UNet(
            UNetConfiguration(part.config), inputs.weights(part.weights, parameters))
        return try unet(inputs, network, parameters, scheduler)
    }

    /// That of `network`, on DDIM as requests have it, told prompts that were encoded before.
    private static func unet(
        _ inputs: RecipeInputs, _ network: UNet, _ parameters: Parameters, _ scheduler: SchedulerSettings
    ) throws(DiffError) -> any TrainingRecipe {
        var defaults = RouterSettings()
        defaults.guidanceChannels = network.channels
        let options = try inputs.settings.options(TrainerSettings.router(defaults) + [TrainerSettings.prompts])
        let own = try RouterSettings(options)
        let path: String = try options.needed("prompts", because: "a U-Net is told prompts")
        let denoiser = try PromptFile(path: path, inputs.resources).told(to: network)
        let asked = StepsRequest(sampler: "ddim", steps: own.samplingSteps)
        let steps = try ImageSteps(scheduler, asked, steps: own.samplingSteps, learnsVariance: false)
        guard let sampler = try steps.sampler() as? DDIMSampler else { throw DiffError(.internal, "no DDIM") }
        let process = try RouterProcess.ddim(sampler, period: own.period)
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
