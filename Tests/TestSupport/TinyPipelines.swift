import DiffCheckpoint
import DiffTensor

extension TinyUNet {
    /// Writes a pipeline folder of this network alone, which takes embeddings and gives latents, and gives its path.
    public func writePipeline(_ directory: ScratchDirectory, as folder: String = "pipeline") throws -> String {
        let index = JSON.object([
            "_class_name": .string("StableDiffusionPipeline"),
            "unet": .array([.string("diffusers"), .string("UNet2DConditionModel")]),
            "scheduler": .array([.string("diffusers"), .string("DDIMScheduler")]),
        ])
        try directory.write(index, as: "\(folder)/model_index.json")
        _ = try write(directory, as: "\(folder)/unet")
        return "\(directory.path)/\(folder)"
    }
}

extension TinyMMDiT {
    /// Writes a pipeline folder of this network alone, which takes embeddings and gives latents, and gives its path.
    public func writePipeline(_ directory: ScratchDirectory, as folder: String = "pipeline3") throws -> String {
        let index = JSON.object([
            "_class_name": .string("StableDiffusion3Pipeline"),
            "transformer": .array([.string("diffusers"), .string("SD3Transformer2DModel")]),
            "scheduler": .array([.string("diffusers"), .string("FlowMatchEulerDiscreteScheduler")]),
        ])
        try directory.write(index, as: "\(folder)/model_index.json")
        _ = try write(directory, as: "\(folder)/transformer")
        return "\(directory.path)/\(folder)"
    }
}
