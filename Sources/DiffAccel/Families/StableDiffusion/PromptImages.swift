import DiffAcceleration
import DiffCheckpoint
import DiffModels
import DiffSampling
import DiffTensor

/// Sampling pictures from prompts: what a request means for the networks of one pipeline.
final class PromptImages: FamilySampling {
    let network: any ConditionedDenoiser
    let conditioner: TextConditioner
    let solver: any ImageSolver
    /// What encodes given pictures; nil: the checkpoint has nothing that does.
    let autoencoder: (any ImageAutoencoder)?
    let decoder: (any PictureDecoder)?
    /// Channels of the latents; those of the network's input but for in-painting.
    let channels: Int
    /// Pixels of a latent along a side.
    let factor: Int
    /// Guidance and steps of requests that say nothing of them.
    let guidance: Double, steps: Int
    /// Whether a picture's strength spaces the timesteps of a sampler that can be spaced so, rather than leaving out the first ones.
    let spacesByStrength: Bool
    /// The steps that the session's plan was learned for.
    let learnedSteps: Int?
    /// What the checkpoint is called in the parameters of pictures.
    let name: String

    init(
        _ network: any ConditionedDenoiser, _ conditioner: TextConditioner, _ solver: any ImageSolver,
        autoencoder: (any ImageAutoencoder)?, decoder: (any PictureDecoder)?, channels: Int, factor: Int,
        guidance: Double, steps: Int, spacesByStrength: Bool = false, name: String, learnedSteps: Int? = nil
    ) {
        (self.network, self.conditioner, self.solver) = (network, conditioner, solver)
        (self.autoencoder, self.decoder, self.channels, self.factor) = (autoencoder, decoder, channels, factor)
        (self.guidance, self.steps, self.learnedSteps, self.name) = (guidance, steps, learnedSteps, name)
        self.spacesByStrength = spacesByStrength
    }

    /// The same, in as many steps as the plan was learned for unless a request says otherwise.
    func under(_ plan: Plan, _ options: SessionOptions) throws(DiffError) -> any FamilySampling {
        PromptImages(
            network, conditioner, solver, autoencoder: autoencoder, decoder: decoder, channels: channels,
            factor: factor, guidance: guidance, steps: steps, spacesByStrength: spacesByStrength, name: name,
            learnedSteps: plan.learnedSteps.map { $0 / max(1, callsPerStep) })
    }

    var layouts: [SiteLayout] { [network.layout] }
    var callsPerStep: Int { solver.callsPerStep }
    /// Whether the network was trained to paint in: it is shown a mask and the masked picture.
    var paintsIn: Bool { network.channels > channels }

    var form: RequestForm {
        PromptImageRequest.form(
            PromptImageRequest.Traits(
                encoders: conditioner.encoders, textLayers: conditioner.textLayers, takesSizes: network.takesSizes,
                takesTextLength: conditioner.encoders == 3, side: Checked.sum(0, network.side &* factor),
                factor: factor, channels: channels, guidance: guidance, steps: steps, textWidth: network.textWidth,
                pooledWidth: network.pooledWidth, paintsIn: paintsIn), solver)
    }

    func previewRequest(steps: Int?) -> SampleRequest {
        var request = SampleRequest(["guidance": 1, "decode": false])
        request["steps"] = steps.map { .integer($0) }
        // What a preview cannot be made with is refused as a request without it is.
        func give(_ name: String, _ dims: Int...) {
            guard let shape = try? Shape(dims) else { return }
            request.tensors[name] = (try? Tensor(zeros(shape.count), shape)).map { .floats($0) }
        }
        if !conditioner.parts.isEmpty {
            request["prompt"] = ""
        } else {
            // As many tokens as the tokenizers of these models give.
            give("prompt_embeds", 1, 77, network.textWidth)
            if let width = network.pooledWidth { give("pooled_prompt_embeds", 1, width) }
        }
        if paintsIn {
            let side = network.side &* factor
            give("image", 1, 3, side, side)
            give("mask", 1, 1, side, side)
        }
        return request
    }

    private func zeros(_ count: Int) -> [Float] { Array(repeating: 0, count: max(0, count)) }

    /// Floating-point operations of one network call for one sample.
    func flopsPerCall() throws(DiffError) -> Double {
        let run = Run(dryOn: 1)
        try run.begin(SamplingContext(layouts: layouts, calls: 1, rows: 1))
        try network.evaluate(dry: run)
        return run.trace.flops.first ?? 0
    }
}
