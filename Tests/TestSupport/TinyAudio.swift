public import DiffAccel
import DiffCheckpoint
import DiffTensor

/// A small AudioLDM without its text encoder: requests bring CLAP's vectors. Attention at two levels, over times and frequencies.
public struct TinyAudio: Sendable {
    public var unet: TinyUNet, autoencoder: TinyAutoencoder
    /// Bins of a spectrogram, and values of a second.
    public var bins = 16, rate = 16000
    public var seed: UInt64 = 1
    private let rates = [5, 4], kernels = [16, 8], width = 8

    public init() {
        unet = TinyUNet()
        (unet.channels, unet.classWidth, unet.projectsByConvolution) = ([8, 16, 16], 10, true)
        autoencoder = TinyAutoencoder()
        autoencoder.channels = 1
    }

    /// Seconds of a latent.
    public var latent: Double { Double(autoencoder.factor * rates.reduce(1, *)) / Double(rate) }

    /// Names and extents of the vocoder.
    public var vocoder: [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        func layer(_ name: String, _ dims: [Int], _ outputs: Int) {
            shapes["\(name).weight"] = dims
            shapes["\(name).bias"] = [outputs]
        }
        layer("conv_pre", [width, bins, 7], width)
        var channels = width
        for (stage, kernel) in kernels.enumerated() {
            layer("upsampler.\(stage)", [channels, channels / 2, kernel], channels / 2)
            channels /= 2
            for part in ["convs1", "convs2"] {
                layer("resblocks.\(stage).\(part).0", [channels, channels, 3], channels)
            }
        }
        layer("conv_post", [1, channels, 7], 1)
        return shapes
    }

    private var vocoderConfig: JSON {
        func list(_ values: [Int]) -> JSON { .array(values.map { .integer($0) }) }
        return .object([
            "architectures": .array([.string("SpeechT5HifiGan")]), "model_in_dim": .integer(bins),
            "sampling_rate": .integer(rate), "upsample_initial_channel": .integer(width),
            "upsample_rates": list(rates), "upsample_kernel_sizes": list(kernels),
            "resblock_kernel_sizes": list([3]), "resblock_dilation_sizes": .array([list([1])]),
            "normalize_before": .bool(false),
        ])
    }

    /// Writes the pipeline's folder and gives its path.
    public func write(_ directory: ScratchDirectory, as folder: String = "audioldm") throws -> String {
        let index = JSON.object([
            "_class_name": .string("AudioLDMPipeline"),
            "unet": .array([.string("diffusers"), .string("UNet2DConditionModel")]),
            "vae": .array([.string("diffusers"), .string("AutoencoderKL")]),
            "vocoder": .array([.string("transformers"), .string("SpeechT5HifiGan")]),
        ])
        try directory.write(index, as: "\(folder)/model_index.json")
        try unet.write(directory, as: "\(folder)/unet")
        try directory.write(autoencoder.config, as: "\(folder)/vae/config.json")
        try directory.write(autoencoder.tensors(), as: "\(folder)/vae/diffusion_pytorch_model.safetensors")
        try directory.write(vocoderConfig, as: "\(folder)/vocoder/config.json")
        try directory.write(
            tinyWeights(vocoder, seed: seed, vectors: 0.1), as: "\(folder)/vocoder/model.safetensors")
        return "\(directory.path)/\(folder)"
    }

    /// A request for one sound of so many latents from `vectors` [n, 10].
    public func request(_ vectors: Tensor, latents: Int = 16, steps: Int = 6) -> SampleRequest {
        var request = SampleRequest(["guidance": 1], tensors: ["prompt_embeds": .floats(vectors)])
        request["steps"] = steps
        request["seconds"] = .number(Double(latents) * latent)
        return request
    }
}
