import DiffAccel
import Foundation
import TestSupport

/// A model that asynchronous denoising divides, and a request for it.
struct AsyncSubject: Sendable {
    let name: String
    let model: Model
    let request: SampleRequest

    func run(
        _ plan: Plan, threads: Int = 2, _ change: (inout SampleRequest) -> Void = { _ in }
    ) throws -> SampleResult {
        var options = SessionOptions()
        options.threads = threads
        var request = request
        change(&request)
        return try model.session(plan, options).sample(request)
    }

    /// A U-Net with an autoencoder, and a request for a picture of 48 x 64 pixels from one prompt.
    static func pipeline(_ directory: ScratchDirectory, _ options: ModelOptions = ModelOptions()) throws -> AsyncSubject
    {
        var numbers = Numbers(6)
        let unet = TinyUNet()
        let path = try unet.writePipeline(directory)
        try TinyAutoencoder().write(directory, as: "pipeline/vae")
        return AsyncSubject(
            name: "pipeline", model: try Model(path, options),
            request: SampleRequest(
                ["steps": 3, "sampler": "ddim", "guidance": 3, "height": 48, "width": 64],
                tensors: ["prompt_embeds": .floats(try numbers.tensor([1, 3, unet.textWidth]))]))
    }

    /// The modules of its components when it is divided evenly at the size of its own pictures, which is how ranks that load only their own
    /// component divide it, whatever the size of a request.
    func balanced(_ components: Int) throws -> AsyncPlan.Split {
        let plan = Plan([try AsyncPlan(components: components, split: .balanced)])
        return .modules(try model.preview(plan, steps: 9).components.map(\.modules))
    }

    /// One of each kind: a U-Net of three levels, a DiT, a U-ViT and Stable Diffusion 3's transformer, written into `directory`.
    static func all(_ directory: ScratchDirectory) throws -> [AsyncSubject] {
        var numbers = Numbers(5)
        var unet = TinyUNet()
        unet.channels = [8, 8, 16]
        let (mmdit, text) = (TinyMMDiT(), try numbers.tensor([2, 3, unet.textWidth]))
        let (states, pooled) = (
            try numbers.tensor([2, 3, mmdit.textWidth]), try numbers.tensor([2, mmdit.pooledWidth])
        )
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return [
            AsyncSubject(
                name: "unet", model: try Model(unet.writePipeline(directory)),
                request: SampleRequest(
                    ["steps": 9, "sampler": "ddim", "guidance": 3], tensors: ["prompt_embeds": .floats(text)])),
            AsyncSubject(
                name: "dit", model: try Model(TinyDiT().write(directory)),
                request: SampleRequest(["labels": [0, 3], "steps": 9, "sampler": "ddim", "guidance": 3])),
            AsyncSubject(
                name: "uvit", model: try Model(tests.appendingPathComponent("Golden/l2c_uvit_small").path),
                request: SampleRequest(["labels": [1, 2], "steps": 4, "guidance": 3])),
            AsyncSubject(
                name: "mmdit", model: try Model(mmdit.writePipeline(directory)),
                request: SampleRequest(
                    ["steps": 9, "guidance": 3],
                    tensors: ["prompt_embeds": .floats(states), "pooled_prompt_embeds": .floats(pooled)])),
        ]
    }
}
