import DiffCheckpoint
import DiffTensor

/// What decides how a single file is sampled, and the files of a pipeline folder that say so.
struct SchedulerFacts {
    let kind: StableDiffusionFile.Kind
    /// Whether the network takes a mask and what is masked.
    var isInpainting = false
    /// Whether it was distilled to need a few steps only, and is told the guidance (LCM).
    var isConsistent = false

    init(kind: StableDiffusionFile.Kind) { self.kind = kind }

    private static let predictions = ["epsilon", "v_prediction", "sample"]
    /// The step at which the 512-pixel release of Stable Diffusion 2 was saved.
    private static let epsilonStep = 875_000

    /// What the file itself tells of the prediction; nil when nothing.
    private static func marked(_ table: TensorTable) -> String? {
        if table.has("v_pred") { return "v_prediction" }
        let told = table.metadata["modelspec.prediction_type"]
        if told == "v" || told == "v_prediction" { return "v_prediction" }
        if told == "epsilon" { return "epsilon" }
        let architecture = table.metadata["modelspec.architecture"] ?? ""
        if architecture.without(prefix: "stable-diffusion-v2-768-v") != nil { return "v_prediction" }
        if architecture.without(prefix: "stable-diffusion-v2-512") != nil { return "epsilon" }
        guard table.info("global_step")?.shape.count == 1, let step = try? table.doubles("global_step").first else {
            return nil
        }
        return step == Double(epsilonStep) ? "epsilon" : nil
    }

    /// The prediction unless the caller gives another.
    private func prediction(_ table: TensorTable) -> String {
        Self.marked(table) ?? (kind == .sd2 && !isInpainting ? "v_prediction" : "epsilon")
    }

    /// Whether it is the 768-pixel release of Stable Diffusion 2, as far as the file tells.
    func predictsVelocity(_ table: TensorTable) -> Bool { kind == .sd2 && prediction(table) == "v_prediction" }

    /// What `scheduler_config.json` would say. Throws `invalidArgument` for a prediction that there is not.
    func scheduler(_ table: TensorTable, _ given: String?) throws(DiffError) -> JSON? {
        if let given, !Self.predictions.contains(given) {
            throw DiffError(
                .invalidArgument,
                "prediction_type \"\(given.prefix(40))\": there are \(Self.predictions.joined(separator: ", "))")
        }
        if kind == .autoencoder { return nil }
        if kind == .sd3 {
            if let given {
                throw DiffError(
                    .invalidArgument, "prediction_type \(given): Stable Diffusion 3 predicts a flow; leave it out")
            }
            return ["_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0]
        }
        let prediction = given ?? prediction(table)
        var config: JSON = [
            "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
            "num_train_timesteps": 1000, "prediction_type": .string(prediction), "set_alpha_to_one": false,
            "steps_offset": 1,
        ]
        if isConsistent {
            return config.setting("_class_name", "LCMScheduler").setting("original_inference_steps", 50)
                .setting("set_alpha_to_one", true).setting("steps_offset", 0)
        }
        if kind == .sdxl {
            config = config.setting("_class_name", "EulerDiscreteScheduler").setting("timestep_spacing", "leading")
                .setting("interpolation_type", "linear").setting("use_karras_sigmas", false)
        } else {
            config = config.setting("_class_name", prediction == "epsilon" ? "PNDMScheduler" : "DDIMScheduler")
                .setting("skip_prk_steps", true)
        }
        // Trained with no signal left at the last step, which only trailing steps begin at.
        if table.has("ztsnr") {
            if kind != .sdxl { config = config.setting("_class_name", "DDIMScheduler") }
            config = config.setting("rescale_betas_zero_snr", true).setting("timestep_spacing", "trailing")
        }
        return config
    }

    /// What `model_index.json` would say of these parts.
    func pipeline(_ parts: [String]) -> JSON? {
        guard kind != .autoencoder else { return nil }
        var name = "StableDiffusion"
        if kind == .sdxl { name = "StableDiffusionXL" } else if kind == .sd3 { name = "StableDiffusion3" }
        var pipeline: JSON = ["_class_name": .string("\(name)\(isInpainting ? "Inpaint" : "")Pipeline")]
        let classes: [(String, String, String)] = [
            ("unet", "diffusers", "UNet2DConditionModel"), ("transformer", "diffusers", "SD3Transformer2DModel"),
            ("vae", "diffusers", "AutoencoderKL"),
            ("text_encoder", "transformers", kind == .sd3 ? "CLIPTextModelWithProjection" : "CLIPTextModel"),
            ("text_encoder_2", "transformers", "CLIPTextModelWithProjection"),
            ("text_encoder_3", "transformers", "T5EncoderModel"),
        ]
        for (part, library, type) in classes.each where parts.contains(part) {
            pipeline = pipeline.setting(part, [.string(library), .string(type)])
        }
        if kind == .sdxl { pipeline = pipeline.setting("force_zeros_for_empty_prompt", true) }
        return pipeline
    }
}
