import DiffAcceleration
import DiffModels
import DiffSampling
import DiffTensor
import DiffTraining

/// The training of a Learning-to-Cache router: the network stays as it is, a plan comes out.
struct RouterRecipe: TrainingRecipe {
    let parameters: Parameters
    let procedure: any LearningProcedure
    let otherWeights = 0
    let loading = 0
    private let inputs: RecipeInputs
    private let network: any TrainableDenoiser
    private let learning: RouterLearning

    private init(
        _ inputs: RecipeInputs, _ network: any TrainableDenoiser, _ parameters: Parameters,
        _ process: RouterProcess, _ own: RouterSettings
    ) throws(DiffError) {
        // Of an unconditional network labels say nothing: files have zeros there.
        let data = try inputs.settings.data.map { (data) throws(DiffError) in
            try data.latents(classes: max(1, network.classRows))
        }
        learning = try RouterLearning(network, process, data: data, own, inputs.resources)
        (self.inputs, self.network, self.parameters, procedure) = (inputs, network, parameters, learning)
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
        return try RouterRecipe(inputs, network, parameters, process, own)
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
        return try RouterRecipe(inputs, network, parameters, process, own)
    }

    func plan() throws(DiffError) -> Plan {
        var router = try learning.router()
        if let limit = inputs.settings.cacheLimit {
            router = try router.limited(toBytes: limit, rows: learning.cachedRows, of: network)
        }
        return Plan([LayerCachePlan(.learned(router))])
    }

    func export(to folder: String) throws(DiffError) { throw inputs.hasNoCheckpoint }
}
